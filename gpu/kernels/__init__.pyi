from .channel_axes import ChannelAxis as ChannelAxis
from .channel_axes import ChannelTies as ChannelTies
from .channel_axes import apply_permutation as apply_permutation
from .following import channel_ties as channel_ties
from .network_order import ChannelOrder as ChannelOrder
from .network_order import rearrange_channels as rearrange_channels
from .retention import retained_energy as retained_energy
from .row_order import rearrange as rearrange
