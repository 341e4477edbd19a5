"""Settings, all from the environment (12-factor). `.env.example` lists every variable.

Nothing here starts anything or talks to anyone: a database or a sandbox is started by whoever wants one
(`make demo`, `make test`) and announced through `DATABASE_URL` and `STRIPE_API_BASE`.
"""

from pathlib import Path

import environ
from csp.constants import NONE, SELF, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
env.read_env(BASE_DIR / ".env")

# -- Django -----------------------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
# Empty is reported by `check` in a sentence (adminops/checks.py); Django itself refuses to start without one.
SECRET_KEY = env.str("SECRET_KEY", default="")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    # Not `django.contrib.admin`: this config registers our ModelAdmins by name and discovers nobody else's.
    # dj-stripe's admin lets a staff user without any permission cancel subscriptions; it never gets loaded.
    "adminops.apps.BackOfficeAdminConfig",
    "csp",
    "djstripe",
    "procrastinate.contrib.django",
    "organizations",
    "billing",
    "webhooks",
    "adminops",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "webhooks.middleware.StripeFirst",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
]

ROOT_URLCONF = "adminops.urls"
WSGI_APPLICATION = "adminops.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# -- Database ---------------------------------------------------------------------------------------------

# PostgreSQL everywhere (docs/decisions/postgresql-everywhere.md). No ATOMIC_REQUESTS: a request that calls
# Stripe must never do so inside a transaction.
DATABASES = {"default": env.db_url("DATABASE_URL", default="postgres:///backoffice")}
if DATABASES["default"].get("ENGINE") != "django.db.backends.postgresql":
    raise ImproperlyConfigured(
        "DATABASE_URL must name a PostgreSQL database: postgres://user:password@host:5432/name."
    )
DATABASES["default"]["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=60)
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"]["ATOMIC_REQUESTS"] = False
# A database machine that is gone must not keep Stripe and people waiting until they give up.
DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
# How often a connection runs a statement of ours before PostgreSQL keeps its plan. Django's own never are.
DATABASES["default"]["OPTIONS"].setdefault(
    "prepare_threshold", 5 if env.bool("DATABASE_KEEPS_STATEMENTS", default=True) else None
)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Rate limits count in PostgreSQL, so that all processes share them and no further service is needed.
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "ratelimit": {"BACKEND": "adminops.ratelimit_cache.PostgresCounterCache"},
}
RATELIMIT_USE_CACHE = "ratelimit"
RATELIMIT_IP_META_KEY = "adminops.limits.address_of"
# W001 says that the backend is not one django-ratelimit has tried itself. Ours has an atomic `incr`, and tests.
SILENCED_SYSTEM_CHECKS = ["django_ratelimit.W001"]

# -- Who may come in --------------------------------------------------------------------------------------

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

# HTTPS is assumed unless DEBUG is on or HTTPS=off says that this is somebody's own machine.
HTTPS = env.bool("HTTPS", default=not DEBUG)
SECURE_SSL_REDIRECT = HTTPS
# Asked from inside, where nobody speaks HTTPS (adminops/probes.py).
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31_536_000 if HTTPS else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
BEHIND_PROXY = env.bool("BEHIND_PROXY", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        # The admin theme writes style attributes; scripts come from our own files only.
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# -- The staff's face ---------------------------------------------------------------------------------------

UNFOLD = {
    "SITE_TITLE": "Back office",
    "SITE_HEADER": "Back office",
    "SITE_SYMBOL": "receipt_long",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": "adminops.admin.site.favicon"},
    ],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "adminops.admin.site.environment",
    "STYLES": ["adminops.admin.site.stylesheet", "adminops.admin.site.list_stylesheet"],
    "SCRIPTS": ["adminops.admin.site.alpine_scope", "adminops.admin.site.script"],
    # Its search of models is unbounded; ours is the search box of each list.
    "COMMAND": {"search_models": False, "show_history": False},
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": "adminops.admin.site.navigation",
    },
    "BORDER_RADIUS": "6px",
    "COLORS": {
        # Indigo, dark enough at 600 for white text, light enough at 500 for text on a dark page.
        "primary": {
            "50": "oklch(96.2% .018 272.314)",
            "100": "oklch(93% .034 272.788)",
            "200": "oklch(87% .065 274.039)",
            "300": "oklch(78.5% .115 274.713)",
            "400": "oklch(70.2% .16 275.5)",
            "500": "oklch(67.3% .182 276.935)",
            "600": "oklch(51.1% .262 276.966)",
            "700": "oklch(45.7% .24 277.023)",
            "800": "oklch(39.8% .195 277.366)",
            "900": "oklch(35.9% .144 278.697)",
            "950": "oklch(25.7% .09 281.288)",
        },
    },
}

# -- Words and time ---------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
LOCALE_PATHS = [BASE_DIR / "adminops" / "locale"]

# -- Static files -----------------------------------------------------------------------------------------

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "adminops" / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
# Without `collectstatic` (demo, tests) files are served from where they lie.
WHITENOISE_USE_FINDERS = env.bool("STATIC_FROM_FINDERS", default=DEBUG)
STATIC_ROOT = None if WHITENOISE_USE_FINDERS else BASE_DIR / "var" / "static"

# -- Stripe -----------------------------------------------------------------------------------------------

# The one version of the API that dj-stripe 2.11 and this code speak. Not a setting: other shapes would not fit.
STRIPE_API_VERSION = "2026-05-27.dahlia"
STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", default="")
STRIPE_WEBHOOK_SECRETS = env.list("STRIPE_WEBHOOK_SECRETS", default=[])
STRIPE_API_BASE = env.str("STRIPE_API_BASE", default="") or "https://api.stripe.com"
# Seconds to wait for a connection and for an answer. Together they bound how long a person looks at a button.
STRIPE_CONNECT_TIMEOUT = env.float("STRIPE_CONNECT_TIMEOUT", default=3.0)
STRIPE_READ_TIMEOUT = env.float("STRIPE_READ_TIMEOUT", default=20.0)

STRIPE_LIVE_MODE = STRIPE_SECRET_KEY.startswith(("sk_live_", "rk_live_"))
# What Stripe allows over all; 0 keeps no count. All processes share it (billing/budget.py).
STRIPE_CALLS_PER_SECOND = env.int("STRIPE_CALLS_PER_SECOND", default=100 if STRIPE_LIVE_MODE else 25)
# The names under which dj-stripe looks for the same things.
STRIPE_LIVE_SECRET_KEY = STRIPE_SECRET_KEY if STRIPE_LIVE_MODE else ""
STRIPE_TEST_SECRET_KEY = "" if STRIPE_LIVE_MODE else STRIPE_SECRET_KEY
if STRIPE_API_BASE != "https://api.stripe.com":
    # Nothing of ours lets dj-stripe call Stripe; if something ever does, it must not leave the sandbox.
    STRIPE_API_HOST = STRIPE_API_BASE
    SILENCED_SYSTEM_CHECKS.append("djstripe.W002")
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"

# -- Operations -------------------------------------------------------------------------------------------

# A preview older than this is shown anew instead of applied.
PREVIEW_MAX_AGE_SECONDS = 600
# How much each role may give back, per refund and per day (billing/authority.py).
REFUND_LIMITS = env.json("REFUND_LIMITS", default={})
# Where Stripe's customer portal leads back to: the product's own page. Else what is configured at Stripe.
PORTAL_RETURN_URL = env.str("PORTAL_RETURN_URL", default="")
# Calls a staff user may make of each operation; the registry of actions names them.
WEBHOOK_MAX_BODY_BYTES = 256 * 1024
WEBHOOK_TOLERANCE_SECONDS = 300
# Alerts (billing/road_watch.py): events that wait so long, and no delivery for so long although Stripe has events.
WEBHOOK_BACKLOG_MINUTES = env.int("WEBHOOK_BACKLOG_MINUTES", default=10)
WEBHOOK_SILENCE_MINUTES = env.int("WEBHOOK_SILENCE_MINUTES", default=30)
# Bodies of events are kept so many days; what the ledger says of them is kept for ever.
PAYLOAD_RETENTION_DAYS = env.int("PAYLOAD_RETENTION_DAYS", default=400)

# -- Reconciliation ---------------------------------------------------------------------------------------

# When everything is compared with Stripe, and when what changed is, as crontab writes it; nothing is never.
RECONCILE_CRONS = {
    "full": env.str("RECONCILE_FULL_CRON", default="20 2 * * *"),
    "incremental": env.str("RECONCILE_CHANGES_CRON", default="*/5 * * * *"),
}
# A run that would change more than this share of all organizations stops and asks.
RECONCILE_MAX_CHANGE_PERCENT = env.int("RECONCILE_MAX_CHANGE_PERCENT", default=5)
# Who is sent a summary by e-mail when something differs after a run.
RECONCILE_EMAILS = env.list("RECONCILE_EMAILS", default=[])
# How many tasks read Stripe's lists at the same time.
RECONCILE_WORKERS = env.int("RECONCILE_WORKERS", default=2)

# -- Mail -------------------------------------------------------------------------------------------------

EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="billing@localhost")
# Who is told of alerts by e-mail, besides the list in the admin.
ALERT_EMAILS = env.list("ALERT_EMAILS", default=[])

# -- Logs -------------------------------------------------------------------------------------------------

# Who reads /metrics gives this as a bearer token; without one, only this machine itself reads it.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
# "json" for one object a line; anything else is for people.
LOG_FORMAT = env.str("LOG_FORMAT", default="plain")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "()": "adminops.logs.PlainFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        },
        "json": {"()": "adminops.logs.JsonFormatter"},
    },
    "filters": {"about": {"()": "billing.log_context.AboutFilter"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "json" if LOG_FORMAT == "json" else "plain",
            "filters": ["about"],
        }
    },
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        # These announce each task, each poll and each call.
        "procrastinate": {"level": "WARNING"},
        "stripe": {"level": "WARNING"},
        # At DEBUG these quote rows and addresses, whoever's they are.
        "django.db.backends": {"level": "INFO"},
        "urllib3": {"level": "INFO"},
        # Django's own handler would write its lines a second time, and otherwise.
        "django": {"handlers": [], "propagate": True},
    },
}

PROCRASTINATE_ON_APP_READY = None
