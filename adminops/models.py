"""What the back office keeps for itself."""

from django.db import models


class Counter(models.Model):
    """A counter that forgets itself: the cells of the rate limits, shared by all processes."""

    key = models.CharField(max_length=255, primary_key=True)
    value = models.BigIntegerField()
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["expires_at"], name="counter_expiry")]

    def __str__(self) -> str:
        return self.key
