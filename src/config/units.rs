//! Sizes, durations, schedules and address ranges, as people write them.

use std::{fmt, net::Ipv4Addr, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer};

/// An amount of memory or disk: a number is in GB, a text has its unit (`512M`, `4G`, `1T`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size {
    /// Whole MiB.
    pub mb: u64,
}

impl Size {
    /// Whole GiB, rounded up.
    #[must_use]
    pub(super) fn gb(self) -> u64 {
        self.mb.div_ceil(1024)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size: write `512M`, `4G` or a number of GB");
        let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(number_end);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let factor = match unit.trim().trim_end_matches(['i', 'B', 'b']) {
            "K" | "k" => 1.0 / 1024.0,
            "M" | "m" => 1.0,
            "G" | "g" | "" => 1024.0,
            "T" | "t" => 1024.0 * 1024.0,
            _ => return Err(wrong()),
        };
        let mb = number * factor;
        if !(1.0..1e9).contains(&mb) {
            return Err(wrong());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie between 1 and 1e9")]
        Ok(Self { mb: mb.round() as u64 })
    }
}

/// A span of time: a number is in seconds, a text has its unit (`90s`, `5m`, `2h`, `7d`, `1h30m`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration: write `90s`, `5m`, `2h`, `7d` or a number of seconds");
        if let Ok(seconds) = text.parse::<u64>() {
            return Ok(Self(Duration::from_secs(seconds)));
        }
        let mut rest = text;
        let mut total = 0_u64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            let mut after = rest[digits..].chars();
            let factor = match after.next() {
                Some('s') => 1,
                Some('m') => 60,
                Some('h') => 3600,
                Some('d') => 86_400,
                _ => return Err(wrong()),
            };
            total = number.checked_mul(factor).and_then(|n| total.checked_add(n)).ok_or_else(wrong)?;
            rest = after.as_str();
        }
        if text.is_empty() { Err(wrong()) } else { Ok(Self(Duration::from_secs(total))) }
    }
}

/// A schedule in the five fields of crontab(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron(pub String);

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ranges = [("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7)];
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != ranges.len() {
            return Err(format!(
                "`{text}` is not a schedule: write five fields, as `0 3 * * *` for three o'clock at night"
            ));
        }
        for (field, (name, low, high)) in fields.iter().zip(ranges) {
            for item in field.split(',') {
                let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
                let step_fits = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|n| n > 0));
                let fits = |text: &str| text.parse::<u32>().is_ok_and(|n| (low..=high).contains(&n));
                let range_fits = range == "*" || range.split('-').all(fits) && range.split('-').count() <= 2;
                if !step_fits || !range_fits {
                    let article = if name == "hour" { "an" } else { "a" };
                    return Err(format!(
                        "`{item}` is not {article} {name} of a schedule ({low}-{high}, `*`, `a-b`, `*/n`)"
                    ));
                }
            }
        }
        Ok(Self(text.to_owned()))
    }
}

/// An IPv4 range, as `10.5.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    /// The first address.
    pub base: Ipv4Addr,
    /// How many leading bits are fixed.
    pub prefix: u8,
}

impl Cidr {
    /// All addresses.
    pub const ANYWHERE: Self = Self { base: Ipv4Addr::UNSPECIFIED, prefix: 0 };

    /// The first and the last address as numbers.
    #[must_use]
    pub fn bounds(self) -> (u32, u32) {
        let low = u32::from(self.base);
        let mask = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
        (low, low | mask)
    }

    /// Whether two ranges share an address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        let ((low, high), (other_low, other_high)) = (self.bounds(), other.bounds());
        low <= other_high && other_low <= high
    }

    /// Whether every address of another range is in this one.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.overlaps(other)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an IPv4 range like `10.5.0.0/24`");
        let (base, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let base: Ipv4Addr = base.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(wrong)?;
        let cidr = Self { base, prefix };
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let first = Ipv4Addr::from(u32::from(base) & mask);
        if first != base {
            return Err(format!("`{text}` has bits set behind its prefix: the range begins at `{first}/{prefix}`"));
        }
        Ok(cidr)
    }
}

/// The parsers that the schema names under `x-parse`; each also accepts a number where `numbers` says so.
pub(super) struct ScalarParser {
    pub(super) name: &'static str,
    pub(super) numbers: bool,
    pub(super) check: fn(&str) -> Result<(), String>,
}

fn check<T: FromStr<Err = String>>(text: &str) -> Result<(), String> {
    text.parse::<T>().map(drop)
}

pub(super) const SCALAR_PARSERS: &[ScalarParser] = &[
    ScalarParser { name: "size", numbers: true, check: check::<Size> },
    ScalarParser { name: "duration", numbers: true, check: check::<Span> },
    ScalarParser { name: "cron", numbers: false, check: check::<Cron> },
    ScalarParser { name: "cidr", numbers: false, check: check::<Cidr> },
];

/// Reads a scalar that may be written as a number or as a text.
fn scalar_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        other => Err(serde::de::Error::custom(format!("expected a text or a number, found {other}"))),
    }
}

macro_rules! scalar_types {
    ($($type:ident $parser:literal $schema:tt $doc:literal),+ $(,)?) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                scalar_text(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": $schema, "x-parse": $parser, "description": $doc })
            }
        }
    )+};
}

scalar_types! {
    Size "size" ["string", "number"] "An amount of memory or disk: a number of GB, or a text with a unit (`512M`, `4G`).",
    Span "duration" ["string", "integer"] "A span of time: a number of seconds, or a text with units (`90s`, `5m`, `1h30m`).",
    Cron "cron" "string" "A schedule in the five fields of crontab(5).",
    Cidr "cidr" "string" "An IPv4 range, as `10.5.0.0/24`.",
}

#[cfg(test)]
mod tests {
    use super::{Cidr, Cron, Size, Span};

    #[test]
    fn sizes() {
        assert_eq!("1".parse::<Size>().unwrap().mb, 1024);
        assert_eq!("512M".parse::<Size>().unwrap().mb, 512);
        assert_eq!("1.5GB".parse::<Size>().unwrap().gb(), 2);
        for bad in ["", "G", "-1", "4X", "0"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!("1h30m".parse::<Span>().unwrap().0.as_secs(), 5400);
        assert_eq!("45".parse::<Span>().unwrap().0.as_secs(), 45);
        for bad in ["", "h", "5 m", "5y", "99999999999999999999h"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn schedules() {
        assert!("*/15 0-6 1,15 * 1-5".parse::<Cron>().is_ok());
        for bad in ["", "* * * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "a * * * *"] {
            assert!(bad.parse::<Cron>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges() {
        let cidr = |text: &str| text.parse::<Cidr>().unwrap();
        assert!(cidr("10.5.0.0/16").overlaps(cidr("10.5.3.0/24")));
        assert!(!cidr("10.5.0.0/24").overlaps(cidr("10.5.1.0/24")));
        assert!(cidr("0.0.0.0/0").overlaps(cidr("192.168.0.0/16")));
        assert!("10.5.0.1/24".parse::<Cidr>().unwrap_err().contains("`10.5.0.0/24`"));
        assert!("10.5.0.0/33".parse::<Cidr>().is_err());
    }
}
