//! A diagram of boxes and arrows that point down: as DOT for Graphviz, and as SVG for everybody else.

use std::collections::BTreeMap;

/// A box.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, unique in the diagram.
    pub name: String,
    /// What kind of thing it is, which gives it its colour: `resource`, `host` or `play`.
    pub kind: &'static str,
    /// How long it took in the last run, in seconds.
    pub seconds: Option<f64>,
    /// What it needs, which is above it.
    pub needs: Vec<String>,
}

/// Boxes and what they need.
#[derive(Clone, Debug, Default)]
pub struct Diagram {
    /// The boxes; needs that are no box are left out.
    pub nodes: Vec<Node>,
}

const WIDTH: usize = 190;
const HEIGHT: usize = 44;
const GAP: (usize, usize) = (24, 56);

impl Diagram {
    fn index(&self) -> BTreeMap<&str, usize> {
        self.nodes.iter().enumerate().map(|(at, node)| (node.name.as_str(), at)).collect()
    }

    /// The boxes on the path that took longest, from the top to the bottom; none without times.
    #[must_use]
    pub fn critical_path(&self) -> Vec<String> {
        let index = self.index();
        // The time until each box is done, and the box before it on that path.
        let mut done: Vec<Option<(f64, Option<usize>)>> = vec![None; self.nodes.len()];
        for _ in 0..self.nodes.len() {
            for (at, node) in self.nodes.iter().enumerate() {
                let needs: Vec<usize> =
                    node.needs.iter().filter_map(|need| index.get(need.as_str()).copied()).collect();
                if done[at].is_some() || needs.iter().any(|need| done[*need].is_none()) {
                    continue;
                }
                let before = needs
                    .into_iter()
                    .filter_map(|need| Some((done[need]?.0, need)))
                    .max_by(|(one, _), (other, _)| one.total_cmp(other));
                let begin = before.map_or(0.0, |(time, _)| time);
                done[at] = Some((begin + node.seconds.unwrap_or(0.0), before.map(|(_, need)| need)));
            }
        }
        let last = (0..self.nodes.len()).max_by(|one, other| {
            let time = |at: usize| done[at].map_or(0.0, |(time, _)| time);
            time(*one).total_cmp(&time(*other))
        });
        let mut path = Vec::new();
        let mut next = last.filter(|at| done[*at].is_some_and(|(time, _)| time > 0.0));
        while let Some(at) = next {
            path.push(self.nodes[at].name.clone());
            next = done[at].and_then(|(_, before)| before);
        }
        path.reverse();
        path
    }

    fn label(node: &Node) -> String {
        node.seconds
            .map_or_else(|| node.name.clone(), |seconds| format!("{} ({})", node.name, super::duration(seconds)))
    }

    /// The diagram for Graphviz.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let (index, path) = (self.index(), self.critical_path());
        let mut text = String::from(
            "digraph infra {\n  rankdir=TB;\n  node [shape=box, style=filled, fontname=\"sans-serif\"];\n",
        );
        for node in &self.nodes {
            let border = if path.contains(&node.name) { ", color=red, penwidth=2" } else { "" };
            text += &format!(
                "  {:?} [label={:?}, fillcolor={:?}{border}];\n",
                node.name,
                Self::label(node),
                fill(node.kind)
            );
        }
        for node in &self.nodes {
            for need in node.needs.iter().filter(|need| index.contains_key(need.as_str())) {
                let critical = path.windows(2).any(|pair| pair[0] == *need && pair[1] == node.name);
                let color = if critical { " [color=red, penwidth=2]" } else { "" };
                text += &format!("  {need:?} -> {:?}{color};\n", node.name);
            }
        }
        text + "}\n"
    }

    /// The row of each box: below everything that it needs.
    fn rows(&self) -> Vec<Vec<usize>> {
        let index = self.index();
        let mut depth = vec![0_usize; self.nodes.len()];
        for _ in 0..self.nodes.len() {
            for (at, node) in self.nodes.iter().enumerate() {
                let needs = node.needs.iter().filter_map(|need| index.get(need.as_str()));
                depth[at] = needs.map(|need| depth[*need] + 1).max().unwrap_or(0).min(self.nodes.len());
            }
        }
        let mut rows: Vec<Vec<usize>> = vec![Vec::new(); depth.iter().max().map_or(0, |deepest| deepest + 1)];
        for (at, depth) in depth.into_iter().enumerate() {
            rows[depth].push(at);
        }
        // Boxes are below the middle of what they need, so that fewer arrows cross.
        let mut place: Vec<usize> = vec![0; self.nodes.len()];
        for row in &mut rows {
            row.sort_by_key(|at| {
                let needs = self.nodes[*at].needs.iter().filter_map(|need| index.get(need.as_str()));
                let places: Vec<usize> = needs.map(|need| place[*need]).collect();
                (places.iter().sum::<usize>() * 1000).checked_div(places.len()).unwrap_or(usize::MAX)
            });
            for (position, at) in row.iter().enumerate() {
                place[*at] = position;
            }
        }
        rows
    }

    /// The diagram as a picture.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let (index, path, rows) = (self.index(), self.critical_path(), self.rows());
        let widest = rows.iter().map(Vec::len).max().unwrap_or(0);
        let (width, height) = (widest * (WIDTH + GAP.0) + GAP.0, rows.len() * (HEIGHT + GAP.1) + GAP.1);
        let mut corner = vec![(0, 0); self.nodes.len()];
        for (number, row) in rows.iter().enumerate() {
            let margin = (width - row.len() * (WIDTH + GAP.0)) / 2;
            for (position, at) in row.iter().enumerate() {
                corner[*at] = (margin + GAP.0 / 2 + position * (WIDTH + GAP.0), GAP.1 / 2 + number * (HEIGHT + GAP.1));
            }
        }
        let escape = |text: &str| quick_xml::escape::escape(text).into_owned();
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        for (at, node) in self.nodes.iter().enumerate() {
            for need in node.needs.iter().filter_map(|need| index.get(need.as_str())) {
                let critical = path.windows(2).any(|pair| pair[0] == self.nodes[*need].name && pair[1] == node.name);
                let (color, thickness) = if critical { ("#d22", 2) } else { ("#999", 1) };
                let (from, to) = (corner[*need], corner[at]);
                let (x1, y1, x2, y2) = (from.0 + WIDTH / 2, from.1 + HEIGHT, to.0 + WIDTH / 2, to.1);
                let middle = y1.midpoint(y2);
                text += &format!(
                    "<path d=\"M {x1} {y1} C {x1} {middle} {x2} {middle} {x2} {y2}\" fill=\"none\" stroke=\"{color}\" \
                     stroke-width=\"{thickness}\"/>\n"
                );
            }
        }
        for (node, (x, y)) in self.nodes.iter().zip(corner) {
            let (color, thickness) = if path.contains(&node.name) { ("#d22", 2) } else { ("#666", 1) };
            text += &format!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"{}\" stroke=\"{color}\" \
                 stroke-width=\"{thickness}\"/>\n<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                fill(node.kind),
                x + WIDTH / 2,
                y + HEIGHT / 2 + 4,
                escape(&Self::label(node))
            );
        }
        text + "</svg>\n"
    }
}

fn fill(kind: &str) -> &'static str {
    match kind {
        "host" => "#dcefdc",
        "play" => "#fdf1d0",
        _ => "#dde8f7",
    }
}

#[cfg(test)]
mod tests {
    use super::{Diagram, Node};

    fn diagram() -> Diagram {
        let node = |name: &str, kind, seconds: f64, needs: &[&str]| Node {
            name: name.into(),
            kind,
            seconds: Some(seconds),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        };
        let nodes = vec![
            node("subnet.a", "resource", 1.0, &[]),
            node("vm.a", "resource", 2.0, &["subnet.a"]),
            node("vm.b", "resource", 5.0, &["subnet.a", "elsewhere"]),
            node("a", "host", 4.0, &["vm.a"]),
            node("b", "host", 0.5, &["vm.b"]),
        ];
        Diagram { nodes }
    }

    #[test]
    fn the_longest_path_is_found_and_marked() {
        assert_eq!(diagram().critical_path(), ["subnet.a", "vm.a", "a"]);
        let untimed =
            Diagram { nodes: diagram().nodes.into_iter().map(|node| Node { seconds: None, ..node }).collect() };
        assert!(untimed.critical_path().is_empty());
        let dot = diagram().to_dot();
        assert!(dot.contains("\"vm.a\" -> \"a\" [color=red") && dot.contains("\"vm.b\" -> \"b\";"), "{dot}");
        assert!(!dot.contains("elsewhere"));
    }

    #[test]
    fn boxes_stand_below_what_they_need_and_beside_each_other() {
        assert_eq!(diagram().rows(), [vec![0], vec![1, 2], vec![3, 4]]);
        let svg = diagram().to_svg();
        assert_eq!(svg.matches("<text").count(), 5);
        assert_eq!(svg.matches("<path").count(), 4);
        assert_eq!(svg.matches("stroke=\"#d22\"").count(), 5);
    }
}
