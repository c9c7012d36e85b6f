//! What an environment costs, as far as prices are known. Prices come from the file that is built in (`prices.yaml`), under those
//! of the user; what has no price is named, and never counted as nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    resource::Address,
    yaml::{self, Source},
};

/// The prices that are built in.
const BUILT_IN: &str = include_str!("../prices.yaml");
/// Hours of a month, as clouds count them.
const HOURS: f64 = 730.0;

/// Something that is paid for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// The resource that it is a part of.
    pub address: Address,
    /// What it is, as price files call it: `instance/t3.small`, `disk/gp3`.
    pub name: String,
    /// The region, which prices differ by.
    pub region: String,
    /// How many, or how many GB.
    pub quantity: f64,
}

impl Item {
    /// Whether it is paid by the GB and the month instead of the hour.
    fn is_storage(&self) -> bool {
        is_storage(&self.name)
    }
}

/// Whether something of this name is paid by the GB and the month instead of the hour.
fn is_storage(name: &str) -> bool {
    name.starts_with("disk/") || name.starts_with("database-disk/")
}

/// The prices of one provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    currency: String,
    date: String,
    source: String,
    /// Prices by region and name; the region `*` is for all others.
    regions: BTreeMap<String, BTreeMap<String, f64>>,
}

impl Section {
    fn price(&self, item: &Item) -> Option<f64> {
        let of = |region: &str| self.regions.get(region)?.get(&item.name).copied();
        of(&item.region).or_else(|| of("*"))
    }
}

/// Prices of providers: later files win.
#[derive(Clone, Debug)]
pub struct PriceList {
    files: Vec<BTreeMap<String, Section>>,
}

impl PriceList {
    /// The built-in prices, under those of a project and of a file that the user names.
    ///
    /// # Errors
    /// When a file cannot be read, or is no price file.
    pub fn load(project: &Path, named: Option<&Path>) -> Result<Self> {
        let mut files = vec![read(&Source::new("prices.yaml", BUILT_IN))?];
        let own = project.join("prices.yaml");
        if own.is_file() {
            files.push(read(&yaml::read(&own)?)?);
        }
        if let Some(path) = named {
            files.push(read(&yaml::read(path)?)?);
        }
        Ok(Self { files })
    }

    /// What these things cost at a provider.
    #[must_use]
    pub fn estimate(&self, provider: &str, items: Vec<Item>) -> Estimate {
        let sections: Vec<&Section> = self.files.iter().rev().filter_map(|file| file.get(provider)).collect();
        let lines = items.into_iter().map(|item| {
            let price = sections.iter().find_map(|section| section.price(&item));
            let hours = if item.is_storage() { HOURS } else { 1.0 };
            Line { hourly: price.map(|price| price * item.quantity / hours), item }
        });
        let lines = lines.collect();
        let latest = sections.first();
        let text = |of: fn(&Section) -> &String| latest.map(|section| of(section).clone());
        Estimate {
            lines,
            currency: text(|section| &section.currency),
            date: text(|section| &section.date),
            source: text(|section| &section.source),
        }
    }
}

fn read(source: &std::sync::Arc<Source>) -> Result<BTreeMap<String, Section>> {
    let (node, _) = yaml::parse(source)?;
    serde_json::from_value(node.to_value()).map_err(|error| {
        Error::usage(format!("`{}` is not a file of prices: {error}", source.file.display()))
            .hint("`infra cost --help` describes its form")
    })
}

/// One thing and its price.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The thing.
    #[serde(flatten)]
    pub item: Item,
    /// What it costs in an hour; none when it is not known.
    pub hourly: Option<f64>,
}

impl Line {
    /// What it costs in a month of 730 hours.
    #[must_use]
    pub fn monthly(&self) -> Option<f64> {
        self.hourly.map(|hourly| hourly * HOURS)
    }
}

/// What an environment costs.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    /// All that is paid for.
    pub lines: Vec<Line>,
    /// The currency of the prices, when there are any.
    pub currency: Option<String>,
    /// Their date.
    pub date: Option<String>,
    /// Where they come from.
    pub source: Option<String>,
}

impl Estimate {
    /// What all that has a price costs in an hour.
    #[must_use]
    pub fn hourly(&self) -> f64 {
        self.lines.iter().filter_map(|line| line.hourly).sum()
    }

    /// How many things have no price.
    #[must_use]
    pub fn unknown(&self) -> usize {
        self.lines.iter().filter(|line| line.hourly.is_none()).count()
    }

    /// What a price file must say so that nothing is unknown, as YAML with prices to be filled in; nothing when nothing is unknown.
    #[must_use]
    pub fn missing_prices(&self, provider: &str) -> Option<String> {
        let mut regions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for item in self.lines.iter().filter(|line| line.hourly.is_none()).map(|line| &line.item) {
            regions.entry(&item.region).or_default().insert(&item.name);
        }
        if regions.is_empty() {
            return None;
        }
        let currency = self.currency.as_deref().unwrap_or("USD");
        let mut text =
            format!("{provider}:\n  currency: {currency}\n  date: 2026-01-31\n  source: your price list\n  regions:\n");
        for (region, names) in regions {
            let region = if region.is_empty() { "'*'" } else { region };
            text += &format!("    {region}:\n");
            for name in names {
                let per = if is_storage(name) { "a GB and month" } else { "an hour" };
                text += &format!("      {name}: 0.0 # {per}\n");
            }
        }
        Some(text)
    }

    /// It in one line; nothing when nothing is paid for.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        if self.lines.is_empty() {
            return None;
        }
        let unknown = match self.unknown() {
            0 => String::new(),
            1 => "; the price of 1 thing is unknown".to_owned(),
            many => format!("; the prices of {many} things are unknown"),
        };
        let (Some(currency), Some(date)) = (&self.currency, &self.date) else {
            return Some(format!("no prices are known here{unknown}"));
        };
        let (hourly, monthly) = (self.hourly(), self.hourly() * HOURS);
        Some(format!("{hourly:.3} {currency} an hour, {monthly:.2} a month, by prices of {date}{unknown}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Item, PriceList};

    fn item(name: &str, region: &str, quantity: f64) -> Item {
        Item { address: "vm.a".parse().unwrap(), name: name.into(), region: region.into(), quantity }
    }

    #[test]
    fn what_is_known_is_summed_and_the_rest_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mine = folder.path().join("mine.yaml");
        let text = "aws:\n  currency: EUR\n  date: 2026-11-01\n  source: our contract\n  regions:\n    '*': {disk/gp3: 0.073}\n";
        std::fs::write(&mine, text).unwrap();
        let items = vec![
            item("instance/t3.small", "eu-central-1", 2.0),
            item("disk/gp3", "eu-central-1", 100.0),
            item("gateway", "eu-central-1", 1.0),
        ];
        let prices = PriceList::load(folder.path(), None).unwrap().estimate("aws", items.clone());
        assert!((prices.hourly() - 0.048).abs() < 1e-9 && prices.unknown() == 2, "{prices:?}");
        let prices = PriceList::load(folder.path(), Some(&mine)).unwrap().estimate("aws", items.clone());
        assert!((prices.hourly() - 0.058).abs() < 1e-9, "{prices:?}");
        assert_eq!(
            prices.summary().unwrap(),
            "0.058 EUR an hour, 42.34 a month, by prices of 2026-11-01; the price of 1 thing is unknown"
        );
        let unknown = PriceList::load(folder.path(), None).unwrap().estimate("yandex", items.clone());
        assert_eq!(unknown.summary().unwrap(), "no prices are known here; the prices of 3 things are unknown");
        assert_eq!(
            prices.missing_prices("aws").unwrap(),
            "aws:\n  currency: EUR\n  date: 2026-01-31\n  source: your price list\n  regions:\n    eu-central-1:\n      \
             gateway: 0.0 # an hour\n"
        );
        // What it says is a price file.
        let example = unknown.missing_prices("yandex").unwrap();
        std::fs::write(&mine, example.replace("0.0 #", "1.5 #")).unwrap();
        let filled = PriceList::load(folder.path(), Some(&mine)).unwrap().estimate("yandex", items);
        assert!(filled.unknown() == 0 && filled.missing_prices("yandex").is_none(), "{filled:?}");
        std::fs::write(&mine, "aws: {currency: EUR}").unwrap();
        assert!(PriceList::load(folder.path(), Some(&mine)).unwrap_err().to_string().contains("mine.yaml"));
    }
}
