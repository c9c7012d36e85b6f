//! Sizes are watched, not enforced: growth should be a decision.

use crate::support::repository;

#[test]
fn report_of_sizes() {
    let root = repository().join("src");
    let mut sizes: Vec<(usize, String)> = infra::files::walk(&root)
        .unwrap()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| (std::fs::read_to_string(root.join(&path)).unwrap().lines().count(), path.display().to_string()))
        .collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let total: usize = sizes.iter().map(|(lines, _)| lines).sum();
    println!("{} files, {total} lines, median {}", sizes.len(), sizes[sizes.len() / 2].0);
    for (lines, path) in sizes.iter().take(10) {
        println!("{lines:>6}  {path}");
    }
    assert!(!sizes.is_empty());
}
