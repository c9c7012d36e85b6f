//! A dependency graph: checked for cycles, walked in parallel, forward or in reverse. It knows nothing of clouds.
//!
//! A node is walked when all nodes that it depends on have been walked. When a node fails, those that depend on it are
//! skipped and not reported as failures themselves: the user should see the cause only (`OpenTofu` does the same).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use futures::stream::{FuturesUnordered, StreamExt};

use crate::error::{Error, Result};

/// Nodes and, for each, the nodes that must be walked before it.
#[derive(Clone, Debug)]
pub struct Graph<K> {
    needs: BTreeMap<K, Vec<K>>,
}

/// How the walk of one node ended.
#[derive(Clone, Debug)]
pub enum Outcome<K, T> {
    /// The node's work was done.
    Done(T),
    /// The node's work failed.
    Failed(Error),
    /// The node was not walked because this one, which it depends on, failed or was skipped.
    Skipped(K),
}

impl<K: Ord + Clone + std::fmt::Display> Graph<K> {
    /// Builds a graph and checks it.
    ///
    /// # Errors
    /// When the needs form a cycle, which is named; needs outside the graph are ignored, as they are already met.
    pub fn new(nodes: impl IntoIterator<Item = (K, Vec<K>)>) -> Result<Self> {
        let mut needs: BTreeMap<K, Vec<K>> = nodes.into_iter().collect();
        let known: Vec<K> = needs.keys().cloned().collect();
        for list in needs.values_mut() {
            list.retain(|need| known.binary_search(need).is_ok());
            list.sort();
            list.dedup();
        }
        let graph = Self { needs };
        match graph.find_cycle() {
            None => Ok(graph),
            Some(cycle) => {
                let names: Vec<String> = cycle.iter().map(|node| format!("`{node}`")).collect();
                Err(Error::usage(format!("dependency cycle: {}", names.join(" needs "))))
            }
        }
    }

    /// The same graph with every edge turned round: the order of destruction.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let mut needs: BTreeMap<K, Vec<K>> = self.needs.keys().map(|key| (key.clone(), Vec::new())).collect();
        for (node, list) in &self.needs {
            for need in list {
                needs.entry(need.clone()).or_default().push(node.clone());
            }
        }
        Self { needs }
    }

    /// How many nodes there are in the longest chain of those that depend on each node, one on the other.
    fn chains<'a>(&'a self, dependents: &'a Self) -> BTreeMap<&'a K, usize> {
        let mut chains: BTreeMap<&K, usize> = self.needs.keys().map(|node| (node, 0)).collect();
        let mut waiting = Waiting::of(dependents, &self.needs);
        let mut free: Vec<&K> = waiting.free().collect();
        while let Some(node) = free.pop() {
            let own = chains[node] + 1;
            for need in &self.needs[node] {
                let chain = chains.get_mut(need).expect("needs outside of the graph were left out");
                *chain = own.max(*chain);
            }
            free.extend(waiting.done(node));
        }
        chains
    }

    /// Walks all nodes, at most `limit` at a time, each after the nodes it needs. Of those that can be walked, what most others
    /// wait for comes first.
    pub async fn walk<T, F, Fut>(&self, limit: usize, work: F) -> BTreeMap<K, Outcome<K, T>>
    where
        F: Fn(K) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let mut outcomes: BTreeMap<K, Outcome<K, T>> = BTreeMap::new();
        let reversed = self.reversed();
        let (chains, dependents) = (self.chains(&reversed), &reversed.needs);
        let in_order = |node| (Reverse(chains[node]), node);
        let mut waiting = Waiting::of(self, dependents);
        let mut ready: BTreeSet<(Reverse<usize>, &K)> = waiting.free().map(in_order).collect();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < limit.max(1)
                && let Some((_, node)) = ready.pop_first()
            {
                let task = work(node.clone());
                running.push(async move { (node, task.await) });
            }
            let Some((node, result)) = running.next().await else { break };
            let done = result.is_ok();
            outcomes.insert(node.clone(), result.map_or_else(Outcome::Failed, Outcome::Done));
            if done {
                ready.extend(waiting.done(node).into_iter().map(in_order));
                continue;
            }
            // What needs it cannot be walked, nor what needs that.
            let mut blocked: Vec<(&K, &K)> = dependents[node].iter().map(|dependent| (dependent, node)).collect();
            while let Some((dependent, blame)) = blocked.pop() {
                if !outcomes.contains_key(dependent) {
                    outcomes.insert(dependent.clone(), Outcome::Skipped(blame.clone()));
                    blocked.extend(dependents[dependent].iter().map(|next| (next, dependent)));
                }
            }
        }
        outcomes
    }

    /// The nodes of one cycle, the first repeated at the end.
    fn find_cycle(&self) -> Option<Vec<K>> {
        let dependents = self.reversed().needs;
        let mut waiting = Waiting::of(self, &dependents);
        let mut free: Vec<&K> = waiting.free().collect();
        while let Some(node) = free.pop() {
            free.extend(waiting.done(node));
        }
        let waiting = waiting.counts;
        // Every node that is left needs another one that is left: following needs must come back to a node.
        let mut path: Vec<&K> = vec![waiting.keys().next()?];
        loop {
            let last = path.last()?;
            let next = self.needs[*last].iter().find(|need| waiting.contains_key(need))?;
            if let Some(start) = path.iter().position(|node| *node == next) {
                let mut cycle: Vec<K> = path[start..].iter().map(|node| (*node).clone()).collect();
                cycle.push(next.clone());
                return Some(cycle);
            }
            path.push(next);
        }
    }
}

/// How many of its needs each node still waits for; one that is done is not there any more.
struct Waiting<'a, K> {
    counts: BTreeMap<&'a K, usize>,
    dependents: &'a BTreeMap<K, Vec<K>>,
}

impl<'a, K: Ord> Waiting<'a, K> {
    fn of(graph: &'a Graph<K>, dependents: &'a BTreeMap<K, Vec<K>>) -> Self {
        Self { counts: graph.needs.iter().map(|(node, needs)| (node, needs.len())).collect(), dependents }
    }

    /// The nodes that wait for nothing.
    fn free(&self) -> impl Iterator<Item = &'a K> {
        self.counts.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node)
    }

    /// Notes that a node is done: the nodes that wait for nothing now.
    fn done(&mut self, node: &K) -> Vec<&'a K> {
        self.counts.remove(node);
        let mut free = Vec::new();
        for dependent in &self.dependents[node] {
            let left = self.counts.get_mut(dependent).expect("a node is not done before those that it needs");
            *left -= 1;
            if *left == 0 {
                free.push(dependent);
            }
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::{Graph, Outcome};
    use crate::error::Error;

    fn diamond() -> Graph<&'static str> {
        Graph::new([("d", vec!["b", "c"]), ("b", vec!["a"]), ("c", vec!["a"]), ("a", vec!["outside"])]).unwrap()
    }

    async fn order(graph: &Graph<&'static str>) -> Vec<&'static str> {
        let seen = Mutex::new(Vec::new());
        graph
            .walk(1, |node| {
                seen.lock().unwrap().push(node);
                async { Ok(()) }
            })
            .await;
        seen.into_inner().unwrap()
    }

    #[tokio::test]
    async fn walks_needs_first_and_reversed_last() {
        assert_eq!(order(&diamond()).await, ["a", "b", "c", "d"]);
        assert_eq!(order(&diamond().reversed()).await, ["d", "b", "c", "a"]);
    }

    #[tokio::test]
    async fn what_most_others_wait_for_is_walked_first() {
        let graph =
            Graph::new([("a", vec![]), ("b", vec![]), ("y", vec!["z"]), ("x", vec!["y"]), ("z", vec![])]).unwrap();
        assert_eq!(order(&graph).await, ["z", "y", "a", "b", "x"]);
    }

    #[tokio::test]
    async fn blames_only_the_first_failure() {
        let outcomes =
            diamond().walk(4, |node| async move { if node == "b" { Err(Error::new("no")) } else { Ok(()) } }).await;
        assert!(matches!(outcomes["a"], Outcome::Done(())));
        assert!(matches!(outcomes["b"], Outcome::Failed(_)));
        assert!(matches!(outcomes["c"], Outcome::Done(())));
        assert!(matches!(outcomes["d"], Outcome::Skipped("b")));
    }

    #[test]
    fn names_the_cycle() {
        let error = Graph::new([("a", vec!["b"]), ("b", vec!["c"]), ("c", vec!["b"])]).unwrap_err();
        assert_eq!(error.message(), "dependency cycle: `b` needs `c` needs `b`");
    }

    #[tokio::test]
    async fn keeps_to_the_limit() {
        let graph = Graph::new((0..20).map(|n| (n, vec![]))).unwrap();
        let (running, most) = (Mutex::new(0), Mutex::new(0));
        let (running, most) = (&running, &most);
        graph
            .walk(3, |_| async move {
                *running.lock().unwrap() += 1;
                let now = *running.lock().unwrap();
                {
                    let mut most = most.lock().unwrap();
                    *most = now.max(*most);
                }
                tokio::task::yield_now().await;
                *running.lock().unwrap() -= 1;
                Ok(())
            })
            .await;
        assert_eq!(*most.lock().unwrap(), 3);
    }
}
