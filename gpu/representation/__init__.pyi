from .group_policy.advantages import group_advantage as group_advantage
from .group_policy.advantages import leave_one_out_advantage as leave_one_out_advantage
from .group_policy.advantages import mixed_groups as mixed_groups
from .group_policy.advantages import pass_bonus as pass_bonus
from .group_policy.losses import clipped_policy_loss as clipped_policy_loss
from .group_policy.residual import ResidualCodes as ResidualCodes
from .group_policy.residual import residual_codes as residual_codes
from .group_policy.rewards import prefix_reward as prefix_reward
