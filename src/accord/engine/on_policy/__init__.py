"""Policies that learn from their own samples: one loop, and the methods PPO, RLOO, GRPO and online DPO."""
