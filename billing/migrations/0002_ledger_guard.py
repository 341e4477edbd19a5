"""Triggers that keep the ledger append-only, whoever writes to it and with whatever tool."""

from django.db import migrations

PROCESSING_COLUMNS = "state,claim,attempts,next_attempt_at,processed_at,error,traceback"

GUARD = f"""
CREATE FUNCTION billing_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: the ledger is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

-- Evidence goes from NULL to a value, once. TG_ARGV[0] names the columns that may move freely.
CREATE FUNCTION billing_keep_evidence() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed text;
BEGIN
    SELECT string_agg(was.key, ', ') INTO changed
    FROM jsonb_each(to_jsonb(OLD) - string_to_array(TG_ARGV[0], ',')) AS was
    WHERE was.value <> 'null'::jsonb AND was.value IS DISTINCT FROM to_jsonb(NEW) -> was.key;
    IF changed IS NOT NULL THEN
        RAISE EXCEPTION 'changing % of % % is refused: the ledger is append-only',
            changed, TG_TABLE_NAME, to_jsonb(OLD) ->> 'id' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

-- Payloads may go, but only while the retention command says that it is at work.
CREATE FUNCTION billing_keep_payload() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('billing.retention', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% of a payload is refused: only the retention command may delete one', TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER keep_evidence BEFORE UPDATE ON billing_subscriptionevent
    FOR EACH ROW EXECUTE FUNCTION billing_keep_evidence('{PROCESSING_COLUMNS}');
CREATE TRIGGER refuse_delete BEFORE DELETE ON billing_subscriptionevent
    FOR EACH ROW EXECUTE FUNCTION billing_refuse();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON billing_subscriptionevent
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse();

CREATE TRIGGER keep_evidence BEFORE UPDATE ON billing_operationstep
    FOR EACH ROW EXECUTE FUNCTION billing_keep_evidence('sent_at,error');
CREATE TRIGGER refuse_delete BEFORE DELETE ON billing_operationstep
    FOR EACH ROW EXECUTE FUNCTION billing_refuse();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON billing_operationstep
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse();

CREATE TRIGGER keep_payload BEFORE UPDATE OR DELETE ON billing_eventpayload
    FOR EACH ROW EXECUTE FUNCTION billing_keep_payload();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON billing_eventpayload
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse();
"""  # noqa: S608  (constants)

UNGUARD = """
DROP TRIGGER keep_evidence ON billing_subscriptionevent;
DROP TRIGGER refuse_delete ON billing_subscriptionevent;
DROP TRIGGER refuse_truncate ON billing_subscriptionevent;
DROP TRIGGER keep_evidence ON billing_operationstep;
DROP TRIGGER refuse_delete ON billing_operationstep;
DROP TRIGGER refuse_truncate ON billing_operationstep;
DROP TRIGGER keep_payload ON billing_eventpayload;
DROP TRIGGER refuse_truncate ON billing_eventpayload;
DROP FUNCTION billing_refuse();
DROP FUNCTION billing_keep_evidence();
DROP FUNCTION billing_keep_payload();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [migrations.RunSQL(GUARD, UNGUARD)]
