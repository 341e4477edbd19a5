"""One operation done to many: `page` leads through it, `forms` has what each asks, `drafts` what was typed so far."""
