//! Renders a pipeline's graph for the terminal, Mermaid, Graphviz and as SVG.

use crate::draw::diagram::{Diagram, diagram};
use crate::draw::layers;

/// A graph to render: nodes in the order of the file, edges by node index.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub name: String,
    pub nodes: Vec<Node>,
    /// From producer to consumer.
    pub edges: Vec<(usize, usize)>,
}

/// A stage of the graph.
#[derive(Debug, Clone)]
pub struct Node {
    pub name: String,
    pub kind: String,
    /// Sets the node apart, if the format supports it.
    pub class: Option<Class>,
}

/// A Mermaid node style.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    pub name: &'static str,
    /// CSS, as in `fill:#dafbe1`.
    pub style: &'static str,
}

impl Graph {
    /// A tree with every stage once, below its input that is furthest from the start; other inputs follow a `+`.
    pub fn ascii(&self) -> String {
        let depths = layers::depths(self.nodes.len(), &self.edges);
        // The last of the deepest inputs: everything that the stage waits for is above it.
        let parents: Vec<Option<usize>> =
            (0..self.nodes.len()).map(|n| self.inputs(n).into_iter().max_by_key(|&i| (depths[i], i))).collect();
        let mut out = String::new();
        for root in (0..self.nodes.len()).filter(|&n| parents[n].is_none()) {
            self.branch(root, "", "", &parents, &mut out);
        }
        out
    }

    fn branch(&self, node: usize, lead: &str, under: &str, parents: &[Option<usize>], out: &mut String) {
        let Node { name, kind, .. } = &self.nodes[node];
        let others: Vec<&str> = self
            .inputs(node)
            .into_iter()
            .filter(|&i| Some(i) != parents[node])
            .map(|i| self.nodes[i].name.as_str())
            .collect();
        let also = if others.is_empty() { String::new() } else { format!("  + {}", others.join(", ")) };
        out.push_str(&format!("{lead}{name} ({kind}){also}\n"));
        let children: Vec<usize> = (0..self.nodes.len()).filter(|&n| parents[n] == Some(node)).collect();
        for (i, &child) in children.iter().enumerate() {
            let (branch, below) = if i + 1 == children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.branch(child, &format!("{under}{branch}"), &format!("{under}{below}"), parents, out);
        }
    }

    /// A Mermaid flowchart, which GitHub and GitLab render in Markdown.
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        let mut classes: Vec<Class> = Vec::new();
        for (i, Node { name, kind, class }) in self.nodes.iter().enumerate() {
            let suffix = class.map_or_else(String::new, |c| format!(":::{}", c.name));
            out.push_str(&format!("  n{i}[\"{}<br><i>{}</i>\"]{suffix}\n", html(name), html(kind)));
            classes.extend(class.filter(|c| !classes.contains(c)));
        }
        for (from, to) in self.unique_edges() {
            out.push_str(&format!("  n{from} --> n{to}\n"));
        }
        for Class { name, style } in classes {
            out.push_str(&format!("  classDef {name} {style}\n"));
        }
        out
    }

    /// The graph in Graphviz's DOT language.
    pub fn dot(&self) -> String {
        let mut out =
            format!("digraph {} {{\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n", quoted(&self.name));
        for Node { name, kind, .. } in &self.nodes {
            out.push_str(&format!("  {} [label={}];\n", quoted(name), quoted(&format!("{name}\n{kind}"))));
        }
        for (from, to) in self.unique_edges() {
            out.push_str(&format!("  {} -> {};\n", quoted(&self.nodes[from].name), quoted(&self.nodes[to].name)));
        }
        out + "}\n"
    }

    fn unique_edges(&self) -> Vec<(usize, usize)> {
        let mut edges: Vec<(usize, usize)> = self.edges.clone();
        edges.sort_unstable();
        edges.dedup();
        edges
    }

    fn inputs(&self, node: usize) -> Vec<usize> {
        self.unique_edges().into_iter().filter(|(_, to)| *to == node).map(|(from, _)| from).collect()
    }

    /// Boxes and curves from left to right, in columns by depth. No curve runs under a box.
    pub fn svg(&self) -> String {
        let boxes = self.nodes.iter().map(|node| (node.name.as_str(), node.kind.as_str())).collect();
        diagram(&Diagram { title: &self.name, boxes, edges: &self.unique_edges() })
    }
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let nodes = [
            ("corpus", "preprocess"),
            ("tokens", "tokenize"),
            ("teacher", "train"),
            ("adapted", "lora"),
            ("pruned", "prune"),
            ("scores[adapted]", "evaluate"),
            ("scores[pruned]", "evaluate"),
            ("comparison", "compare"),
        ];
        let nodes = nodes.map(|(name, kind)| Node { name: name.into(), kind: kind.into(), class: None }).to_vec();
        let edges = vec![(0, 1), (1, 2), (1, 3), (2, 4), (3, 5), (1, 5), (4, 6), (1, 6), (5, 7), (6, 7), (6, 7)];
        Graph { name: "roberta \"full\"".into(), nodes, edges }
    }

    #[test]
    fn a_tree_for_the_terminal() {
        assert_eq!(
            graph().ascii(),
            "\
corpus (preprocess)
└─ tokens (tokenize)
   ├─ teacher (train)
   │  └─ pruned (prune)
   │     └─ scores[pruned] (evaluate)  + tokens
   │        └─ comparison (compare)  + scores[adapted]
   └─ adapted (lora)
      └─ scores[adapted] (evaluate)  + tokens
"
        );
        assert_eq!(Graph::default().ascii(), "");
    }

    fn small() -> Graph {
        let nodes = [("a", "train"), ("b[x<y]", "prune")]
            .map(|(name, kind)| Node { name: name.into(), kind: kind.into(), class: None })
            .to_vec();
        Graph { name: "p \"q\"".into(), nodes, edges: vec![(0, 1)] }
    }

    #[test]
    fn mermaid_gives_a_class_its_style_once() {
        let mut graph = small();
        let class = Class { name: "changed", style: "fill:#fff" };
        graph.nodes.iter_mut().for_each(|n| n.class = Some(class));
        assert_eq!(
            graph.mermaid(),
            "flowchart LR
  n0[\"a<br><i>train</i>\"]:::changed
  n1[\"b[x&lt;y]<br><i>prune</i>\"]:::changed
  n0 --> n1
  classDef changed fill:#fff
"
        );
    }

    #[test]
    fn mermaid_and_dot() {
        assert_eq!(
            small().mermaid(),
            "flowchart LR
  n0[\"a<br><i>train</i>\"]
  n1[\"b[x&lt;y]<br><i>prune</i>\"]
  n0 --> n1
"
        );
        assert_eq!(
            small().dot(),
            r#"digraph "p \"q\"" {
  rankdir=LR;
  node [shape=box, fontname="sans-serif"];
  "a" [label="a\ntrain"];
  "b[x<y]" [label="b[x<y]\nprune"];
  "a" -> "b[x<y]";
}
"#
        );
    }

    /// The numbers of an attribute of each element that begins so.
    fn numbers(svg: &str, start: &str, attribute: &str) -> Vec<f64> {
        let of = |rest: &str| {
            let rest = rest.split(&format!(" {attribute}=\"")).nth(1).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        svg.split(start).skip(1).map(of).collect()
    }

    #[test]
    fn no_edge_runs_under_a_box() {
        let svg = graph().svg();
        let boxes: Vec<[f64; 4]> = {
            let [x, y, wide, tall] =
                ["x", "y", "width", "height"].map(|name| numbers(&svg, "<rect class=\"box\"", name));
            (0..x.len()).map(|i| [x[i], y[i], x[i] + wide[i], y[i] + tall[i]]).collect()
        };
        let mut crossed = 0;
        for path in svg.split("<path class=\"edge\" d=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            // Every curve begins and ends at a column's edge; between them it stays between its ends.
            for part in path.split('H').skip(1) {
                let before: Vec<f64> = path[..path.find(part).unwrap()]
                    .split(|c: char| !(c.is_ascii_digit() || c == '.'))
                    .filter_map(|n| n.parse().ok())
                    .collect();
                let [from, y] = before[before.len() - 2..] else { panic!("{path}") };
                let to: f64 = part.split('C').next().unwrap().parse().unwrap();
                crossed += 1;
                let under = |one: &&[f64; 4]| from < one[2] && one[0] < to && one[1] <= y && y <= one[3];
                assert_eq!(boxes.iter().find(under), None, "{path}");
            }
        }
        assert_eq!(crossed, 4, "edges from tokens to the scores, and from scores to the comparison, pass columns");
    }

    #[test]
    fn svg_has_a_box_a_stage_and_a_curve_an_edge() {
        let svg = graph().svg();
        assert_eq!(svg.matches("<rect class=\"box\"").count(), 8);
        assert_eq!(svg.matches("<path").count(), 10);
        assert!(svg.starts_with("<svg xmlns") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("roberta &quot;full&quot;"));
        assert!(!svg.contains("NaN") && !svg.contains("=\"-"));
        assert!(svg.contains("prefers-color-scheme:dark"));
        assert!(Graph::default().svg().ends_with("</svg>\n"));
    }
}
