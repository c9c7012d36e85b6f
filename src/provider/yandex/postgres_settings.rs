//! Server settings as Managed PostgreSQL takes them: camel-cased fields; memory in bytes, times in milliseconds, words as
//! members of an enumeration. The names are those of the messages `PostgresqlConfig15` to `PostgresqlConfig18`.

use serde_json::{Map, Value, json};

use crate::provider::managed_postgres::{quantity, switch, unit};

/// Whole numbers, with and without units.
const NUMBERS: &[&str] = &[
    "archive_timeout",
    "auto_explain_log_min_duration",
    "autovacuum_analyze_threshold",
    "autovacuum_max_workers",
    "autovacuum_naptime",
    "autovacuum_vacuum_cost_delay",
    "autovacuum_vacuum_cost_limit",
    "autovacuum_vacuum_insert_threshold",
    "autovacuum_vacuum_threshold",
    "autovacuum_work_mem",
    "backend_flush_after",
    "bgwriter_delay",
    "bgwriter_flush_after",
    "bgwriter_lru_maxpages",
    "checkpoint_flush_after",
    "checkpoint_timeout",
    "checkpoint_warning",
    "client_connection_check_interval",
    "deadlock_timeout",
    "default_statistics_target",
    "effective_cache_size",
    "effective_io_concurrency",
    "from_collapse_limit",
    "geqo_effort",
    "geqo_generations",
    "geqo_pool_size",
    "geqo_threshold",
    "gin_pending_list_limit",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "join_collapse_limit",
    "lock_timeout",
    "log_autovacuum_min_duration",
    "log_min_duration_sample",
    "log_min_duration_statement",
    "log_parameter_max_length",
    "log_parameter_max_length_on_error",
    "log_temp_files",
    "logical_decoding_work_mem",
    "maintenance_io_concurrency",
    "maintenance_work_mem",
    "max_active_replication_origins",
    "max_connections",
    "max_locks_per_transaction",
    "max_logical_replication_workers",
    "max_parallel_maintenance_workers",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "max_pred_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_stack_depth",
    "max_standby_archive_delay",
    "max_standby_streaming_delay",
    "max_wal_senders",
    "max_wal_size",
    "max_worker_processes",
    "min_wal_size",
    "old_snapshot_threshold",
    "pg_qualstats_max",
    "session_duration_timeout",
    "shared_buffers",
    "statement_timeout",
    "temp_buffers",
    "temp_file_limit",
    "track_activity_query_size",
    "vacuum_cost_delay",
    "vacuum_cost_limit",
    "vacuum_cost_page_dirty",
    "vacuum_cost_page_hit",
    "vacuum_cost_page_miss",
    "vacuum_failsafe_age",
    "vacuum_multixact_failsafe_age",
    "wal_keep_size",
    "work_mem",
];

/// Switches.
const SWITCHES: &[&str] = &[
    "array_nulls",
    "auto_explain_log_analyze",
    "auto_explain_log_buffers",
    "auto_explain_log_nested_statements",
    "auto_explain_log_timing",
    "auto_explain_log_triggers",
    "auto_explain_log_verbose",
    "default_transaction_read_only",
    "default_with_oids",
    "enable_async_append",
    "enable_bitmapscan",
    "enable_gathermerge",
    "enable_group_by_reordering",
    "enable_hashagg",
    "enable_hashjoin",
    "enable_incremental_sort",
    "enable_indexonlyscan",
    "enable_indexscan",
    "enable_material",
    "enable_memoize",
    "enable_mergejoin",
    "enable_nestloop",
    "enable_parallel_append",
    "enable_parallel_hash",
    "enable_partition_pruning",
    "enable_partitionwise_aggregate",
    "enable_partitionwise_join",
    "enable_seqscan",
    "enable_sort",
    "enable_tidscan",
    "escape_string_warning",
    "exit_on_error",
    "geqo",
    "jit",
    "lo_compat_privileges",
    "log_checkpoints",
    "log_connections",
    "log_disconnections",
    "log_duration",
    "log_lock_waits",
    "log_recovery_conflict_waits",
    "log_replication_commands",
    "parallel_leader_participation",
    "pg_hint_plan_enable_hint",
    "pg_hint_plan_enable_hint_table",
    "pg_hint_plan_hints_anywhere",
    "pg_qualstats_enabled",
    "pg_qualstats_resolve_oids",
    "pg_qualstats_track_constants",
    "quote_all_identifiers",
    "row_security",
    "standard_conforming_strings",
    "synchronize_seqscans",
    "track_commit_timestamp",
    "transform_null_equals",
    "vacuum_truncate",
];

/// Numbers with a fraction.
const FRACTIONS: &[&str] = &[
    "auto_explain_sample_rate",
    "autovacuum_analyze_scale_factor",
    "autovacuum_vacuum_insert_scale_factor",
    "autovacuum_vacuum_scale_factor",
    "bgwriter_lru_multiplier",
    "checkpoint_completion_target",
    "cursor_tuple_fraction",
    "geqo_seed",
    "geqo_selection_bias",
    "hash_mem_multiplier",
    "log_statement_sample_rate",
    "log_transaction_sample_rate",
    "pg_qualstats_sample_rate",
    "pg_trgm_similarity_threshold",
    "pg_trgm_strict_word_similarity_threshold",
    "pg_trgm_word_similarity_threshold",
    "random_page_cost",
    "seq_page_cost",
];

/// Words, with what the service writes before each.
const WORDS: &[(&str, &str)] = &[
    ("auto_explain_log_format", "AUTO_EXPLAIN_LOG_FORMAT"),
    ("backslash_quote", "BACKSLASH_QUOTE"),
    ("bytea_output", "BYTEA_OUTPUT"),
    ("client_min_messages", "LOG_LEVEL"),
    ("constraint_exclusion", "CONSTRAINT_EXCLUSION"),
    ("debug_parallel_query", "DEBUG_PARALLEL_QUERY"),
    ("default_transaction_isolation", "TRANSACTION_ISOLATION"),
    ("force_parallel_mode", "FORCE_PARALLEL_MODE"),
    ("log_error_verbosity", "LOG_ERROR_VERBOSITY"),
    ("log_min_error_statement", "LOG_LEVEL"),
    ("log_min_messages", "LOG_LEVEL"),
    ("log_statement", "LOG_STATEMENT"),
    ("password_encryption", "PASSWORD_ENCRYPTION"),
    ("pg_hint_plan_debug_print", "PG_HINT_PLAN_DEBUG_PRINT"),
    ("pg_hint_plan_message_level", "LOG_LEVEL"),
    ("plan_cache_mode", "PLAN_CACHE_MODE"),
    ("synchronous_commit", "SYNCHRONOUS_COMMIT"),
    ("wal_level", "WAL_LEVEL"),
    ("xmlbinary", "XML_BINARY"),
    ("xmloption", "XML_OPTION"),
];

/// Texts.
const TEXTS: &[&str] = &["search_path", "timezone"];

/// What is wrong with a setting.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The service sets it by itself.
    NotOurs,
    /// Its value is no value of its kind.
    Value(String),
}

/// One setting as the service takes it.
pub(super) fn convert(name: &str, value: &Value) -> Result<Value, Wrong> {
    let text = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if NUMBERS.contains(&name) {
        let number = match unit(name) {
            Some(unit) => quantity(value, unit),
            None => text().trim().parse().map_err(|_| format!("`{}` is not a whole number", text())),
        };
        // Numbers of 64 bits travel as texts.
        return number.map(|number| number.to_string().into()).map_err(Wrong::Value);
    }
    if SWITCHES.contains(&name) {
        let wrong = || Wrong::Value(format!("`{}` is neither `on` nor `off`", text()));
        return switch(value).map(Value::Bool).ok_or_else(wrong);
    }
    if FRACTIONS.contains(&name) {
        let number: Option<f64> = text().trim().parse().ok();
        return number.map(|number| json!(number)).ok_or_else(|| Wrong::Value(format!("`{}` is not a number", text())));
    }
    if let Some((_, prefix)) = WORDS.iter().find(|(known, _)| *known == name) {
        let word = match value {
            Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
            _ => text(),
        };
        return Ok(format!("{prefix}_{}", word.replace([' ', '-'], "_").to_ascii_uppercase()).into());
    }
    if TEXTS.contains(&name) { Ok(text().into()) } else { Err(Wrong::NotOurs) }
}

/// All settings that the service takes, by the names of its fields. What it sets by itself is left out.
pub(super) fn config(settings: &Map<String, Value>) -> Map<String, Value> {
    let converted = settings.iter().filter_map(|(name, value)| Some((field(name), convert(name, value).ok()?)));
    converted.collect()
}

/// The names of all settings that files can have.
pub(super) fn known() -> Vec<&'static str> {
    let plain = [NUMBERS, SWITCHES, FRACTIONS, TEXTS].concat();
    plain.into_iter().chain(WORDS.iter().map(|(word, _)| *word)).collect()
}

/// Whether a field is that of a setting that files can have.
pub(super) fn is_known(name: &str) -> bool {
    known().into_iter().any(|known| field(known) == name)
}

/// The name of the field of a setting.
fn field(name: &str) -> String {
    let mut parts = name.split('_');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (first, rest) = part.split_at(part.len().min(1));
        text.push_str(&first.to_ascii_uppercase());
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{FRACTIONS, NUMBERS, SWITCHES, TEXTS, WORDS, Wrong, config, convert, field};

    #[test]
    fn every_setting_is_a_field_of_the_service() {
        let rest: Value = serde_json::from_str(include_str!("../../../tests/golden/yandex/rest.json")).unwrap();
        let fields = |version: u32| {
            rest["messages"][format!("yandex.cloud.mdb.postgresql.v1.config.PostgresqlConfig{version}")]["fields"]
                .clone()
        };
        let known: Vec<Value> = (15..=18).map(fields).collect();
        let kind = |name: &str| {
            let found = known.iter().find_map(|fields| fields.get(field(name)));
            found.unwrap_or_else(|| panic!("{name}"))["type"].as_str().unwrap().to_owned()
        };
        assert!(NUMBERS.iter().all(|name| kind(name) == "google.protobuf.Int64Value"));
        assert!(SWITCHES.iter().all(|name| kind(name) == "google.protobuf.BoolValue"));
        assert!(FRACTIONS.iter().all(|name| kind(name) == "google.protobuf.DoubleValue"));
        assert!(TEXTS.iter().all(|name| kind(name) == "string"));
        for (name, prefix) in WORDS {
            let values = rest["enums"][kind(name)].to_string();
            assert!(values.contains(&format!("{prefix}_")), "{name}: {values}");
        }
    }

    #[test]
    fn settings_are_written_as_the_service_takes_them() {
        let settings = json!({
            "shared_buffers": "256MB", "random_page_cost": 1.1, "jit": "off", "synchronous_commit": "on",
            "data_directory": "/data",
        });
        assert_eq!(
            Value::Object(config(settings.as_object().unwrap())),
            json!({
                "sharedBuffers": "268435456", "randomPageCost": 1.1, "jit": false,
                "synchronousCommit": "SYNCHRONOUS_COMMIT_ON",
            })
        );
        assert_eq!(convert("data_directory", &json!("/data")), Err(Wrong::NotOurs));
        assert!(matches!(convert("max_connections", &json!("many")), Err(Wrong::Value(_))));
    }
}
