"""Policies that learn from judged responses directly: the DPO family and KTO, with their reference."""
