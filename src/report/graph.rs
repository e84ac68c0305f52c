//! Renders a pipeline's graph for the terminal, Mermaid, Graphviz and as SVG.

use unicode_width::UnicodeWidthStr;

/// Sizes in pixels for the SVG with 13 px text; the letter width is a little more than the real one.
const LETTER: f64 = 7.5;
const PADDING: f64 = 12.0;
const TALL: f64 = 44.0;
const ACROSS: f64 = 48.0;
const DOWN: f64 = 14.0;
const MARGIN: f64 = 12.0;

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
        let depths = self.depths();
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

    /// The longest path from a stage without inputs. The graph has no cycles; with one, the loop would end after one
    /// pass per node.
    fn depths(&self) -> Vec<usize> {
        let mut depths = vec![0; self.nodes.len()];
        for _ in 0..self.nodes.len() {
            let before = depths.clone();
            for &(from, to) in &self.edges {
                depths[to] = depths[to].max(depths[from] + 1);
            }
            if depths == before {
                break;
            }
        }
        depths
    }

    /// Boxes and curves from left to right, in columns by depth.
    pub fn svg(&self) -> String {
        let columns = self.columns();
        let wide = self.nodes.iter().map(|n| n.name.width().max(n.kind.width())).max().unwrap_or(0) as f64 * LETTER
            + 2.0 * PADDING;
        let rows = columns.iter().map(Vec::len).max().unwrap_or(0) as f64;
        let (width, height) = (
            columns.len() as f64 * (wide + ACROSS) - ACROSS + 2.0 * MARGIN,
            rows * (TALL + DOWN) - DOWN + 2.0 * MARGIN,
        );
        let mut corners = vec![(0.0, 0.0); self.nodes.len()];
        for (c, column) in columns.iter().enumerate() {
            // Centre shorter columns.
            let top = MARGIN + (rows - column.len() as f64) * (TALL + DOWN) / 2.0;
            for (r, &node) in column.iter().enumerate() {
                corners[node] = (MARGIN + c as f64 * (wide + ACROSS), top + r as f64 * (TALL + DOWN));
            }
        }
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"13\" text-anchor=\"middle\">\n<title>{}</title>\n",
            html(&self.name)
        );
        for (from, to) in self.unique_edges() {
            let (x1, y1) = (corners[from].0 + wide, corners[from].1 + TALL / 2.0);
            let (x2, y2) = (corners[to].0, corners[to].1 + TALL / 2.0);
            let bend = (x2 - x1) / 2.0;
            out.push_str(&format!("<path d=\"M{x1:.0} {y1:.0}C{:.0} {y1:.0} {:.0} {y2:.0} {x2:.0} {y2:.0}\" fill=\"none\" stroke=\"#8a94a6\"/>\n", x1 + bend, x2 - bend));
        }
        for (Node { name, kind, .. }, (x, y)) in self.nodes.iter().zip(&corners) {
            let middle = x + wide / 2.0;
            out.push_str(&format!("<rect x=\"{x:.0}\" y=\"{y:.0}\" width=\"{wide:.0}\" height=\"{TALL:.0}\" rx=\"6\" fill=\"#eef2f8\" stroke=\"#5b6b86\"/>\n"));
            out.push_str(&format!(
                "<text x=\"{middle:.0}\" y=\"{:.0}\" fill=\"#1c2534\">{}</text>\n",
                y + 18.0,
                html(name)
            ));
            out.push_str(&format!(
                "<text x=\"{middle:.0}\" y=\"{:.0}\" fill=\"#5b6b86\" font-size=\"11\">{}</text>\n",
                y + 34.0,
                html(kind)
            ));
        }
        out + "</svg>\n"
    }

    /// Nodes by depth; each column is ordered by the mean position of the inputs so that fewer edges cross.
    fn columns(&self) -> Vec<Vec<usize>> {
        let depths = self.depths();
        let mut columns: Vec<Vec<usize>> = vec![Vec::new(); depths.iter().max().map_or(0, |d| d + 1)];
        let mut place = vec![0.0; self.nodes.len()];
        for (depth, column) in columns.iter_mut().enumerate() {
            column.extend((0..self.nodes.len()).filter(|&n| depths[n] == depth));
            let mean = |node: usize| {
                let inputs = self.inputs(node);
                inputs.iter().map(|&i| place[i]).sum::<f64>() / inputs.len().max(1) as f64
            };
            let means: Vec<f64> = (0..self.nodes.len()).map(mean).collect();
            column.sort_by(|&a, &b| means[a].total_cmp(&means[b]).then(a.cmp(&b)));
            let size = column.len() as f64;
            column.iter().enumerate().for_each(|(row, &node)| place[node] = row as f64 - size / 2.0);
        }
        columns
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

    #[test]
    fn svg_has_a_box_a_stage_and_a_curve_an_edge() {
        let svg = graph().svg();
        assert_eq!(svg.matches("<rect").count(), 8);
        assert_eq!(svg.matches("<path").count(), 10);
        assert!(svg.starts_with("<svg xmlns") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("roberta &quot;full&quot;"));
        assert!(!svg.contains("NaN") && !svg.contains("=\"-"));
        assert!(Graph::default().svg().ends_with("</svg>\n"));
    }

    #[test]
    fn columns_put_a_stage_behind_all_its_inputs() {
        assert_eq!(graph().columns(), [vec![0], vec![1], vec![2, 3], vec![4, 5], vec![6], vec![7]]);
    }
}
