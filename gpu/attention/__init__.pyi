from .block_mask import BlockMask as BlockMask
from .masked import masked_attention as masked_attention
from .model_attention import AttentionCall as AttentionCall
from .model_attention import capture_attention as capture_attention
from .model_attention import replaced_attention as replaced_attention
