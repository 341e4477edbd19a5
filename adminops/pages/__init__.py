"""What pages show and how they say it: badges, dates and sentences; and pages that are no ModelAdmin's."""
