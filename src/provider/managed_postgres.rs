//! What the clouds' own PostgreSQL services share: server settings with units, as `postgresql.conf` writes them, for services
//! that want plain numbers (the units are those of `pg_settings`,
//! <https://www.postgresql.org/docs/current/config-setting.html>); and what is told when a service is not quite what the file
//! asks for.

use serde_json::Value;

use crate::{
    config::{Environment, Feature},
    error::{Diagnostic, Location},
    resource::{PostgresSpec, Resource},
};

/// Where the file says something of a service: the deepest key of a path in its section.
pub(super) fn place(environment: &Environment, one: &Resource, path: &[&str]) -> Location {
    let section = ["postgres", one.address.name.as_str()];
    environment.place_of(&section.into_iter().chain(path.iter().copied()).collect::<Vec<_>>())
}

/// How a service that a cloud has completed differs from what the file asks for.
pub(super) fn adjusted(
    environment: &Environment, one: &Resource, asked: &PostgresSpec, completed: &PostgresSpec,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if completed.class.is_none() {
        let message = format!("no class of hosts has {} cores and {} MB", asked.cores, asked.memory_mb);
        let place = place(environment, one, &["resources"]);
        found.push(Diagnostic::error(place, message).hint("take fewer cores or less memory"));
    }
    if completed.disk_gb != asked.disk_gb {
        let message = format!("a managed database has at least {} GB here", completed.disk_gb);
        // A second disk is where the data is, if the file asks for one.
        let sizes = ["secondary_disk_size", "disk_size"].map(|key| place(environment, one, &["resources", key]));
        let [second, first] = sizes;
        let place = if second == place(environment, one, &["resources"]) { first } else { second };
        found.push(Diagnostic::warning(place, message));
    }
    if let (Some(asked), Some(kept)) = (&asked.backup, &completed.backup)
        && asked.keep_days != kept.keep_days
    {
        let message = format!("backups are kept for {} days here", kept.keep_days);
        found.push(Diagnostic::warning(place(environment, one, &["backup", "keep"]), message));
    }
    found
}

/// Settings that neither the version of PostgreSQL nor the service has; `also` are those that the service has beside PostgreSQL's.
pub(super) fn unknown_settings(
    environment: &Environment, one: &Resource, spec: &PostgresSpec, also: &[&'static str],
) -> Vec<Diagnostic> {
    let unknown = |name: &String| {
        let unknown = Feature::Setting.unknown(name, spec.version, also)?;
        let place = place(environment, one, &["settings", name]);
        Some(Diagnostic { hint: unknown.hint, ..Diagnostic::error(place, unknown.message) })
    };
    spec.settings.keys().filter_map(unknown).collect()
}

/// What a setting without a unit is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// So many bytes.
    Bytes(u64),
    /// So many milliseconds.
    Milliseconds(u64),
}

/// The unit of a setting; nothing for plain numbers, switches and words.
pub(super) fn unit(name: &str) -> Option<Unit> {
    Some(match name {
        "shared_buffers"
        | "temp_buffers"
        | "wal_buffers"
        | "effective_cache_size"
        | "bgwriter_flush_after"
        | "backend_flush_after"
        | "checkpoint_flush_after" => Unit::Bytes(8 << 10),
        "work_mem"
        | "maintenance_work_mem"
        | "autovacuum_work_mem"
        | "logical_decoding_work_mem"
        | "temp_file_limit"
        | "gin_pending_list_limit"
        | "log_temp_files"
        | "max_stack_depth" => Unit::Bytes(1 << 10),
        "max_wal_size" | "min_wal_size" | "wal_keep_size" | "max_slot_wal_keep_size" => Unit::Bytes(1 << 20),
        "track_activity_query_size" => Unit::Bytes(1),
        "checkpoint_timeout" | "checkpoint_warning" | "autovacuum_naptime" | "archive_timeout" => {
            Unit::Milliseconds(1000)
        }
        "old_snapshot_threshold" => Unit::Milliseconds(60_000),
        "statement_timeout"
        | "lock_timeout"
        | "idle_in_transaction_session_timeout"
        | "idle_session_timeout"
        | "deadlock_timeout"
        | "log_min_duration_statement"
        | "log_min_duration_sample"
        | "log_autovacuum_min_duration"
        | "auto_explain_log_min_duration"
        | "bgwriter_delay"
        | "vacuum_cost_delay"
        | "autovacuum_vacuum_cost_delay"
        | "max_standby_streaming_delay"
        | "max_standby_archive_delay"
        | "client_connection_check_interval" => Unit::Milliseconds(1),
        _ => return None,
    })
}

/// A setting in bytes or in milliseconds; negative numbers mean "never" or "without end", and stay as they are.
///
/// # Errors
/// When it is no number with a unit of its kind.
pub(super) fn quantity(value: &Value, unit: Unit) -> Result<i64, String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, suffix) = (text[..at].trim(), &text[at..]);
    let number: i64 = number.parse().map_err(|_| format!("`{text}` is not a number"))?;
    let factor: u64 = match (unit, suffix) {
        (Unit::Bytes(own) | Unit::Milliseconds(own), "") => own,
        (Unit::Bytes(_), "B") | (Unit::Milliseconds(_), "ms") => 1,
        (Unit::Bytes(_), "kB") => 1 << 10,
        (Unit::Bytes(_), "MB") => 1 << 20,
        (Unit::Bytes(_), "GB") => 1 << 30,
        (Unit::Bytes(_), "TB") => 1 << 40,
        (Unit::Milliseconds(_), "s") => 1000,
        (Unit::Milliseconds(_), "min") => 60_000,
        (Unit::Milliseconds(_), "h") => 3_600_000,
        (Unit::Milliseconds(_), "d") => 86_400_000,
        (Unit::Bytes(_), _) => return Err(format!("`{text}` has no unit of memory: B, kB, MB, GB or TB")),
        (Unit::Milliseconds(_), _) => return Err(format!("`{text}` has no unit of time: ms, s, min, h or d")),
    };
    if number < 0 {
        return Ok(number);
    }
    i64::try_from(factor)
        .ok()
        .and_then(|factor| number.checked_mul(factor))
        .ok_or_else(|| format!("`{text}` is too much"))
}

/// A switch, in any of the spellings that PostgreSQL knows.
pub(super) fn switch(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(on) => Some(*on),
        Value::Number(number) => number.as_u64().filter(|number| *number < 2).map(|number| number == 1),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" => Some(true),
            "off" | "false" | "no" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{quantity, switch, unit};

    #[test]
    fn numbers_have_the_units_of_the_server() {
        let of = |name: &str, value: serde_json::Value| quantity(&value, unit(name).unwrap());
        assert_eq!(of("shared_buffers", json!("256MB")), Ok(256 << 20));
        assert_eq!(of("shared_buffers", json!(16384)), Ok(128 << 20));
        assert_eq!(of("work_mem", json!("4096")), Ok(4 << 20));
        assert_eq!(of("checkpoint_timeout", json!("5min")), Ok(300_000));
        assert_eq!(of("log_min_duration_statement", json!(-1)), Ok(-1));
        assert!(of("work_mem", json!("4 apples")).unwrap_err().contains("unit of memory"));
        assert!(of("statement_timeout", json!("soon")).unwrap_err().contains("not a number"));
        assert_eq!(
            (switch(&json!("off")), switch(&json!(true)), switch(&json!("auto"))),
            (Some(false), Some(true), None)
        );
    }
}
