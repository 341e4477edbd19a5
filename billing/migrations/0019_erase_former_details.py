"""The erasing of personal data may take former details of a customer off the lines that tell of their change."""

from django.db import migrations

GUARD = """
CREATE OR REPLACE FUNCTION billing_keep_evidence() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed text;
    free text[] := string_to_array(TG_ARGV[0], ',');
BEGIN
    IF current_setting('billing.retention', true) = 'on' THEN
        free := free || ARRAY['organization_label'];
        IF to_jsonb(OLD) ->> 'type' = 'organization.details_changed' THEN
            free := free || ARRAY['before', 'after', 'message'];
        END IF;
    END IF;
    SELECT string_agg(was.key, ', ') INTO changed
    FROM jsonb_each(to_jsonb(OLD) - free) AS was
    WHERE was.value <> 'null'::jsonb AND was.value IS DISTINCT FROM to_jsonb(NEW) -> was.key;
    IF changed IS NOT NULL THEN
        RAISE EXCEPTION 'changing % of % % is refused: the ledger is append-only',
            changed, TG_TABLE_NAME, to_jsonb(OLD) ->> 'id' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
"""

GUARD_BEFORE = """
CREATE OR REPLACE FUNCTION billing_keep_evidence() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed text;
    free text[] := string_to_array(TG_ARGV[0], ',');
BEGIN
    IF current_setting('billing.retention', true) = 'on' THEN
        free := free || ARRAY['organization_label'];
    END IF;
    SELECT string_agg(was.key, ', ') INTO changed
    FROM jsonb_each(to_jsonb(OLD) - free) AS was
    WHERE was.value <> 'null'::jsonb AND was.value IS DISTINCT FROM to_jsonb(NEW) -> was.key;
    IF changed IS NOT NULL THEN
        RAISE EXCEPTION 'changing % of % % is refused: the ledger is append-only',
            changed, TG_TABLE_NAME, to_jsonb(OLD) ->> 'id' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0018_name_differences")]

    operations = [migrations.RunSQL(GUARD, GUARD_BEFORE)]
