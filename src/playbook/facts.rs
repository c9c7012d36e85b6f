//! Facts: what a host is, read with one script of POSIX sh and coreutils, under the names of Ansible's `setup`.

use serde_json::{Map, Value, json};

use crate::remote::ReadOnly;

/// Prints sections, each after a line `== name`.
const SCRIPT: &str = r#"
s() { printf '\n== %s\n' "$1"; }
s os; cat /etc/os-release 2>/dev/null
s uname; uname -s; uname -n; uname -r; uname -m; uname -v
s user; id -un; id -u; id -g; echo "$HOME"; echo "${SHELL:-/bin/sh}"
s cpu; nproc 2>/dev/null || echo 1
s mem; grep -E '^(MemTotal|MemFree|SwapTotal|SwapFree):' /proc/meminfo
s date; date +%s; date -u +%Y-%m-%dT%H:%M:%SZ; date +%Z
s hosts; hostname -f 2>/dev/null || uname -n
s route; cat /proc/net/route
s addr; ip -o addr show 2>/dev/null
s fib; [ -x /sbin/ip ] || [ -x /bin/ip ] || [ -x /usr/sbin/ip ] || cat /proc/net/fib_trie
s service; readlink /proc/1/exe 2>/dev/null || cat /proc/1/comm
s mgr; for m in apt-get dnf yum zypper apk pacman; do command -v $m >/dev/null 2>&1 && echo $m; done
s env; env -0 | tr '\n\0' ' \n'
s mounts; cat /proc/mounts
s virt; [ -e /.dockerenv ] && echo docker; cat /run/systemd/container 2>/dev/null
s machine; cat /etc/machine-id 2>/dev/null
s local; for f in /etc/ansible/facts.d/*.fact; do [ -f "$f" ] || continue; printf '\n@@ %s\n' "$(basename "$f" .fact)"; if [ -x "$f" ]; then "$f"; else cat "$f"; fi; done
"#;

/// What a host is asked.
pub(super) fn question() -> ReadOnly {
    ReadOnly::of(SCRIPT)
}

/// Reads what the script printed.
pub(super) fn parse(text: &str) -> Map<String, Value> {
    let mut sections: std::collections::HashMap<&str, Vec<&str>> = std::collections::HashMap::new();
    let mut current = "";
    for line in text.lines() {
        match line.strip_prefix("== ") {
            Some(name) => current = name,
            None => sections.entry(current).or_default().push(line),
        }
    }
    let section = |name: &str| -> Vec<&str> {
        sections.get(name).into_iter().flatten().copied().filter(|line| !line.is_empty()).collect()
    };
    let mut facts = Map::new();
    let mut put = |name: &str, value: Value| drop(facts.insert(name.to_owned(), value));
    distribution(&section("os"), &mut put);
    let uname = section("uname");
    let at = |list: &[&str], index: usize| list.get(index).copied().unwrap_or_default().to_owned();
    put("system", at(&uname, 0).into());
    put("nodename", at(&uname, 1).into());
    put("hostname", at(&uname, 1).split('.').next().unwrap_or_default().into());
    put("kernel", at(&uname, 2).into());
    put("kernel_version", at(&uname, 4).into());
    put("architecture", at(&uname, 3).into());
    put("machine", at(&uname, 3).into());
    let fqdn = section("hosts").first().copied().unwrap_or_default().to_owned();
    put("domain", fqdn.split_once('.').map_or("", |(_, domain)| domain).into());
    put("fqdn", fqdn.into());
    let user = section("user");
    put("user_id", at(&user, 0).into());
    put("user_uid", at(&user, 1).parse::<u32>().unwrap_or(0).into());
    put("user_gid", at(&user, 2).parse::<u32>().unwrap_or(0).into());
    put("user_dir", at(&user, 3).into());
    put("user_shell", at(&user, 4).into());
    let processors: u64 = at(&section("cpu"), 0).parse().unwrap_or(1);
    for name in ["processor_vcpus", "processor_count", "processor_nproc", "processor_cores"] {
        put(name, if name == "processor_cores" { 1.into() } else { processors.into() });
    }
    for (label, name) in [
        ("MemTotal", "memtotal_mb"),
        ("MemFree", "memfree_mb"),
        ("SwapTotal", "swaptotal_mb"),
        ("SwapFree", "swapfree_mb"),
    ] {
        let line = section("mem").into_iter().find_map(|line| line.strip_prefix(label)?.strip_prefix(':'));
        let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0);
        put(name, (kb / 1024).into());
    }
    put("date_time", date(&section("date")));
    network(&section("addr"), &section("fib"), &section("route"), &mut put);
    let init = at(&section("service"), 0);
    put(
        "service_mgr",
        if init.contains("systemd") { "systemd".into() } else { init.rsplit('/').next().unwrap_or_default().into() },
    );
    let manager = at(&section("mgr"), 0);
    put("pkg_mgr", if manager == "apt-get" { "apt".into() } else { manager.into() });
    let env: Map<String, Value> =
        section("env").iter().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.into())).collect();
    put("env", env.into());
    put("mounts", mounts(&section("mounts")));
    let container = at(&section("virt"), 0);
    put("virtualization_type", if container.is_empty() { "NA".into() } else { container.as_str().into() });
    put("virtualization_role", if container.is_empty() { "NA".into() } else { "guest".into() });
    put("machine_id", at(&section("machine"), 0).into());
    put("selinux", json!({ "status": "disabled" }));
    put("local", local(sections.get("local").map(Vec::as_slice).unwrap_or_default()));
    put("python_version", "3.11.2".into());
    put("gather_subset", json!(["all"]));
    facts
}

fn distribution(lines: &[&str], put: &mut impl FnMut(&str, Value)) {
    let get = |key: &str| {
        let found = lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_default().trim_matches('"').to_owned()
    };
    let id = get("ID");
    let name = match id.as_str() {
        "debian" => "Debian".to_owned(),
        "ubuntu" => "Ubuntu".to_owned(),
        "fedora" => "Fedora".to_owned(),
        "alpine" => "Alpine".to_owned(),
        "rocky" => "Rocky".to_owned(),
        "almalinux" => "AlmaLinux".to_owned(),
        _ => get("NAME"),
    };
    let family = match id.as_str() {
        "debian" | "ubuntu" | "raspbian" | "linuxmint" => "Debian",
        "fedora" | "rocky" | "almalinux" | "centos" | "rhel" => "RedHat",
        "alpine" => "Alpine",
        "arch" => "Archlinux",
        _ => &name,
    };
    let version = get("VERSION_ID");
    put("distribution", name.as_str().into());
    put("os_family", family.into());
    put("distribution_major_version", version.split('.').next().unwrap_or_default().into());
    put("distribution_release", get("VERSION_CODENAME").into());
    put("distribution_version", version.into());
}

fn date(lines: &[&str]) -> Value {
    let epoch = lines.first().copied().unwrap_or("0");
    let iso = lines.get(1).copied().unwrap_or_default();
    let (day, time) = iso.trim_end_matches('Z').split_once('T').unwrap_or((iso, ""));
    let parts: Vec<&str> = day.split('-').collect();
    json!({
        "epoch": epoch, "iso8601": iso, "date": day, "time": time, "tz": lines.get(2),
        "year": parts.first(), "month": parts.get(1), "day": parts.get(2),
    })
}

fn network(addresses: &[&str], fib: &[&str], routes: &[&str], put: &mut impl FnMut(&str, Value)) {
    let default = routes.iter().skip(1).find(|line| line.split_whitespace().nth(1) == Some("00000000"));
    let default = default.and_then(|line| line.split_whitespace().next()).unwrap_or_default();
    let gateway = routes.iter().skip(1).find(|line| line.split_whitespace().nth(1) == Some("00000000"));
    let gateway = gateway.and_then(|line| u32::from_str_radix(line.split_whitespace().nth(2)?, 16).ok());
    let gateway = gateway.map(|raw| std::net::Ipv4Addr::from(raw.to_le_bytes()).to_string());
    let (mut v4, mut v6, mut names) = (Vec::new(), Vec::new(), Vec::new());
    let mut main = None;
    for line in addresses {
        // `2: eth0    inet 10.5.0.10/24 brd 10.5.0.255 scope global eth0\ ...`
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(name), Some(family), Some(address)) = (words.get(1), words.get(2), words.get(3)) else { continue };
        if !names.contains(name) {
            names.push(name);
        }
        let (ip, prefix) = address.split_once('/').unwrap_or((address, "32"));
        match *family {
            "inet" if *name != "lo" => {
                v4.push(ip);
                if *name == default || main.is_none() {
                    main = Some((*name, ip, prefix));
                }
            }
            "inet6" if !ip.starts_with("fe80") && *name != "lo" => v6.push(ip),
            _ => {}
        }
    }
    // Without iproute2 the kernel's own table knows the addresses: the line before `/32 host LOCAL`.
    if v4.is_empty() {
        for pair in fib.windows(2).filter(|pair| pair[1].contains("/32 host LOCAL")) {
            let ip = pair[0].trim_start_matches(['|', ' ', '-', '+']);
            if !ip.starts_with("127.") && !v4.contains(&ip) {
                v4.push(ip);
                main.get_or_insert((default, ip, "24"));
            }
        }
    }
    let main = main.map_or_else(|| json!({}), |(name, ip, prefix)| {
        let bits = prefix.parse::<u32>().unwrap_or(32).min(32);
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        let base = ip.parse::<std::net::Ipv4Addr>().map_or(0, u32::from) & mask;
        json!({
            "interface": name, "alias": name, "address": ip, "prefix": prefix, "gateway": gateway,
            "netmask": std::net::Ipv4Addr::from(mask).to_string(), "network": std::net::Ipv4Addr::from(base).to_string(),
        })
    });
    put("default_ipv4", main);
    put("default_ipv6", json!({}));
    put("all_ipv4_addresses", json!(v4));
    put("all_ipv6_addresses", json!(v6));
    put("interfaces", json!(names));
}

fn mounts(lines: &[&str]) -> Value {
    let real = |line: &&&str| line.starts_with("/dev/") || line.starts_with("overlay");
    let mounts = lines.iter().filter(real).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        json!({ "device": words.first(), "mount": words.get(1), "fstype": words.get(2), "options": words.get(3) })
    });
    mounts.collect()
}

/// `ansible_local`: JSON, or the sections of an INI file.
fn local(lines: &[&str]) -> Value {
    let mut all = Map::new();
    let mut name = "";
    let mut text: Vec<&str> = Vec::new();
    let mut finish = |name: &str, text: &mut Vec<&str>| {
        if !name.is_empty() {
            let joined = text.join("\n");
            all.insert(name.to_owned(), serde_json::from_str(&joined).unwrap_or_else(|_| ini(text)));
        }
        text.clear();
    };
    for line in lines {
        if let Some(next) = line.strip_prefix("@@ ") {
            finish(name, &mut text);
            name = next;
        } else {
            text.push(line);
        }
    }
    finish(name, &mut text);
    all.into()
}

fn ini(lines: &[&str]) -> Value {
    let mut sections = Map::new();
    let mut section = String::new();
    for line in lines.iter().map(|line| line.trim()) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
            sections.insert(section.clone(), json!({}));
        } else if let Some((key, value)) = line.split_once('=')
            && let Some(Value::Object(map)) = sections.get_mut(&section)
        {
            map.insert(key.trim().to_owned(), value.trim().into());
        }
    }
    sections.into()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_a_debian_host() {
        let text = "\n== os\nID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n\n== uname\nLinux\napp-1\n6.1\nx86_64\n#1\n\
                    \n== mem\nMemTotal:       1048576 kB\n== cpu\n2\n== route\nIface\tDestination\neth0\t00000000\t0100050A\n\
                    == addr\n1: lo    inet 127.0.0.1/8 scope host lo\n2: eth0    inet 10.5.0.10/24 brd 10.5.0.255 scope global eth0\n\
                    == mgr\napt-get\n== service\n/usr/lib/systemd/systemd\n== env\nPATH=/bin\n";
        let facts = parse(text);
        assert_eq!(facts["distribution"], "Debian");
        assert_eq!(facts["distribution_major_version"], "12");
        assert_eq!(facts["memtotal_mb"], 1024);
        assert_eq!(facts["default_ipv4"]["address"], "10.5.0.10");
        assert_eq!(facts["default_ipv4"]["gateway"], "10.5.0.1");
        assert_eq!(facts["pkg_mgr"], "apt");
        assert_eq!(facts["service_mgr"], "systemd");
        assert_eq!(facts["env"]["PATH"], "/bin");
        assert_eq!(facts["all_ipv4_addresses"], serde_json::json!(["10.5.0.10"]));
    }
}
