from .block_mask import BlockMask as BlockMask
from .masked import masked_attention as masked_attention
