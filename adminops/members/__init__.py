"""The few pages that members see: whether they have access, and for an owner the way to pay."""
