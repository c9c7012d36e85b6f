//! Address ranges: what a network consists of, and how a subnet of the file is divided.

use std::net::Ipv4Addr;

use crate::config::Cidr;

/// The largest block that a network may have.
pub(super) const LARGEST: u8 = 16;
/// The smallest subnet.
pub(super) const SMALLEST: u8 = 28;

fn at(base: u32, prefix: u8) -> Cidr {
    Cidr { base: Ipv4Addr::from(base), prefix }
}

fn size(prefix: u8) -> u32 {
    1_u32.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// Both halves of a range.
pub(super) fn halves(cidr: Cidr) -> (Cidr, Cidr) {
    let (prefix, (low, _)) = (cidr.prefix + 1, cidr.bounds());
    (at(low, prefix), at(low + size(prefix), prefix))
}

/// The parts of a range that have this size, in their order.
pub(super) fn parts(cidr: Cidr, prefix: u8) -> impl DoubleEndedIterator<Item = Cidr> {
    let (low, _) = cidr.bounds();
    let count = 1_u32 << u32::from(prefix.saturating_sub(cidr.prefix)).min(16);
    (0..count).map(move |number| at(low + number * size(prefix), prefix))
}

/// The blocks that have all the addresses of these ranges and no others: neighbours become one, as far as a network may have
/// such large ones.
pub(super) fn blocks(ranges: &[Cidr]) -> Vec<Cidr> {
    let mut blocks: Vec<Cidr> = ranges.to_vec();
    blocks.sort_by_key(|cidr| (cidr.base, cidr.prefix));
    blocks.dedup();
    let covered = |one: &Cidr, all: &[Cidr]| all.iter().any(|other| other != one && other.covers(*one));
    let all = blocks.clone();
    blocks.retain(|one| !covered(one, &all));
    loop {
        let joined = blocks.windows(2).enumerate().find_map(|(place, pair)| {
            let whole = at(pair[0].bounds().0, pair[0].prefix.checked_sub(1)?);
            let siblings = pair[0].prefix == pair[1].prefix && whole.bounds().0 & (size(whole.prefix) - 1) == 0;
            (siblings && whole.prefix >= LARGEST && whole.covers(pair[1])).then_some((place, whole))
        });
        let Some((place, whole)) = joined else { return blocks };
        blocks.splice(place..place + 2, [whole]);
    }
}

/// The ranges of private use; a network has blocks of one of them only.
pub(super) fn family(cidr: Cidr) -> Option<&'static str> {
    let families = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
    families.into_iter().find(|family| family.parse::<Cidr>().is_ok_and(|family| family.covers(cidr)))
}

#[cfg(test)]
mod tests {
    use super::{blocks, family, halves, parts};
    use crate::config::Cidr;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    fn of(ranges: &[&str]) -> Vec<String> {
        let ranges: Vec<Cidr> = ranges.iter().map(|text| cidr(text)).collect();
        blocks(&ranges).iter().map(Cidr::to_string).collect()
    }

    #[test]
    fn a_network_has_the_addresses_that_the_file_names_and_no_others() {
        assert_eq!(of(&["10.40.0.0/24", "10.40.1.0/24"]), ["10.40.0.0/23"]);
        assert_eq!(of(&["10.40.2.0/24", "10.40.0.0/24", "10.40.1.0/24"]), ["10.40.0.0/23", "10.40.2.0/24"]);
        assert_eq!(of(&["10.40.1.0/24", "10.40.2.0/24"]), ["10.40.1.0/24", "10.40.2.0/24"], "no siblings");
        assert_eq!(of(&["10.50.0.0/16", "10.51.0.0/16"]), ["10.50.0.0/16", "10.51.0.0/16"], "no block is larger");
        assert_eq!(of(&["10.50.0.0/16", "10.50.3.0/24"]), ["10.50.0.0/16"]);
        let four = ["10.0.0.0/26", "10.0.0.64/26", "10.0.0.128/26", "10.0.0.192/26"];
        assert_eq!(of(&four), ["10.0.0.0/24"]);
    }

    #[test]
    fn a_subnet_is_divided() {
        assert_eq!(halves(cidr("10.5.0.0/24")), (cidr("10.5.0.0/25"), cidr("10.5.0.128/25")));
        assert_eq!(
            parts(cidr("10.5.0.128/25"), 26).collect::<Vec<_>>(),
            [cidr("10.5.0.128/26"), cidr("10.5.0.192/26")]
        );
        assert_eq!(parts(cidr("10.5.0.192/26"), 28).next_back(), Some(cidr("10.5.0.240/28")));
        assert_eq!((family(cidr("172.20.0.0/16")), family(cidr("100.64.0.0/16"))), (Some("172.16.0.0/12"), None));
    }
}
