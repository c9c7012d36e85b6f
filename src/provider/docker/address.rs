//! Address ranges and addresses: which are taken on this machine, which is the next free one.

use std::net::Ipv4Addr;

use crate::config::Cidr;

/// Where free ranges are looked for when the wanted one is taken: 10.64.0.0/10, which few routers use.
const POOL: (u32, u32) = (0x0A40_0000, 0x0A7F_FFFF);

/// The wanted range, or a free one of the same size when it overlaps one in use. The seed says where the search begins:
/// processes that look at the same moment begin in different places.
pub(super) fn free_range(wanted: Cidr, used: &[Cidr], seed: u32) -> Option<Cidr> {
    let free = |cidr: &Cidr| !used.iter().any(|other| other.overlaps(*cidr));
    let step = 1_usize << (32 - wanted.prefix);
    let bases = (POOL.0..=POOL.1).step_by(step);
    let count = bases.clone().count().max(1);
    let begin = seed as usize % count;
    let pool = bases.clone().skip(begin).chain(bases.take(begin));
    let pool = pool.map(|base| Cidr { base: Ipv4Addr::from(base), prefix: wanted.prefix });
    std::iter::once(wanted).chain(pool).find(free)
}

/// The lowest free address of a range for a machine. The engine takes the first one for its gateway, and the first ten
/// are left alone, as clouds do.
pub(super) fn free_address(range: Cidr, used: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let (low, high) = range.bounds();
    let first = if high - low > 32 { low + 10 } else { low + 2 };
    (first..high).map(Ipv4Addr::from).find(|address| !used.contains(address))
}

/// The ranges that this machine has routes to, from `/proc/net/route`: an engine elsewhere has its own.
pub(super) fn routed_ranges() -> Vec<Cidr> {
    std::fs::read_to_string("/proc/net/route").map(|table| parse_routes(&table)).unwrap_or_default()
}

/// Lines of interface, destination, gateway, ..., mask; numbers are hexadecimal in the machine's byte order.
fn parse_routes(table: &str) -> Vec<Cidr> {
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(|raw| u32::from_be_bytes(raw.to_ne_bytes()));
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (base, mask) = (number(fields.get(1)?)?, number(fields.get(7)?)?);
            let prefix = u8::try_from(mask.leading_ones()).ok()?;
            (prefix > 0).then_some(Cidr { base: base.into(), prefix })
        })
        .collect()
}

/// A TCP port of 127.0.0.1 that no one listens on now.
pub(super) fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The MTU of the interface with the default route: packets of containers must fit through it.
pub(super) fn uplink_mtu() -> Option<u32> {
    let table = std::fs::read_to_string("/proc/net/route").ok()?;
    let default = table.lines().skip(1).find(|line| line.split_whitespace().nth(1) == Some("00000000"))?;
    let interface = default.split_whitespace().next()?;
    std::fs::read_to_string(format!("/sys/class/net/{interface}/mtu")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Cidr, free_address, free_range, parse_routes};

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_taken_range_is_replaced_by_a_free_one() {
        assert_eq!(free_range(cidr("10.5.0.0/24"), &[], 7), Some(cidr("10.5.0.0/24")));
        let used = [cidr("10.5.0.0/16"), cidr("10.64.0.0/24")];
        assert_eq!(free_range(cidr("10.5.0.0/24"), &used, 0), Some(cidr("10.64.1.0/24")));
        assert_eq!(free_range(cidr("10.5.0.0/24"), &used, 5), Some(cidr("10.64.5.0/24")));
        // Whoever begins at the end goes on from the beginning.
        let last = cidr("10.127.255.0/24");
        assert_eq!(free_range(cidr("10.5.0.0/24"), &[used[0], last], 16_383), Some(cidr("10.64.0.0/24")));
    }

    #[test]
    fn addresses_begin_at_the_tenth_and_fill_gaps() {
        let used = ["10.5.0.10".parse().unwrap(), "10.5.0.12".parse().unwrap()];
        assert_eq!(free_address(cidr("10.5.0.0/24"), &used).unwrap().to_string(), "10.5.0.11");
        assert_eq!(free_address(cidr("10.5.0.0/28"), &[]).unwrap().to_string(), "10.5.0.2");
    }

    #[test]
    fn reads_the_kernels_routes() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                     eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n\
                     eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
        assert_eq!(parse_routes(table), [cidr("10.0.2.0/24")]);
    }
}
