"""Who may ask whether people may come in: products, each with a token that only its hash is kept of."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

PREFIX = "access_"


class AccessToken(models.Model):
    """A product's key to `/api/access/`. The token itself is told once and kept nowhere."""

    name = models.CharField(_("name"), max_length=100, help_text=_("The product or server that will use it."))
    digest = models.CharField(max_length=64, unique=True, editable=False)
    ending = models.CharField(_("ends in"), max_length=4, editable=False)
    created_at = models.DateTimeField(_("made"), db_default=Now(), editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("made by"),
    )
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)

    token = ""
    """Right after `issue`, the token; no column."""

    class Meta:
        app_label = "organizations"
        verbose_name = _("access token")
        verbose_name_plural = _("access tokens")
        ordering = ["-pk"]
        default_permissions = ("add", "change", "view")

    def __str__(self) -> str:
        return f"{self.name} (…{self.ending})"

    def issue(self) -> None:
        """Give a new row its token, before it is saved."""
        self.token = PREFIX + secrets.token_urlsafe(32)
        self.digest, self.ending = digest_of(self.token), self.token[-4:]

    def revoke(self) -> None:
        """From the next request on it opens nothing. There is no way back."""
        AccessToken.objects.filter(pk=self.pk, revoked_at__isnull=True).update(revoked_at=timezone.now())
        self.refresh_from_db(fields=["revoked_at"])


def create_token(name: str) -> tuple[AccessToken, str]:
    """A new token: its row, and the token itself, which cannot be told again."""
    row = AccessToken(name=name)
    row.issue()
    row.save()
    return row, row.token


def authenticate(header: str) -> AccessToken | None:
    """Whose token an Authorization header carries; None for none, a wrong, or a revoked one.

    Looked up by its hash: how long that takes tells nothing of any token there is. One query in any case.
    """
    scheme, _space, token = header.partition(" ")
    digest = digest_of(token.strip())
    row = AccessToken.objects.filter(digest=digest).first()
    known = row.digest if row else digest_of("")
    if not hmac.compare_digest(known, digest) or row is None:
        return None
    return row if scheme.lower() == "bearer" and row.revoked_at is None else None


def digest_of(token: str) -> str:
    """What is kept of a token. It is random and long, so that a plain hash of it cannot be turned round."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
