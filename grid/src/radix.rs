//! A radix tree over bytes that answers one question: which of my keys does this text begin with?
//!
//! Promise: a search costs as many steps as the text and the matching keys are long, however many other keys there are.
//! Not here: what the numbers stored with a key mean (`matching`).

/// Keys with numbers stored at them. Built once, then only searched.
#[derive(Debug)]
pub(crate) struct Radix {
    // A node is named by its place; the root is the first and has an empty label.
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// The bytes between the parent and this node.
    label: Box<[u8]>,
    /// What was stored under the key that ends here.
    values: Vec<u32>,
    /// First byte of the child's label, and the child. Sorted.
    children: Vec<(u8, u32)>,
}

impl Default for Radix {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }
}

impl Radix {
    /// Stores `value` under `key`, next to what is already there.
    pub(crate) fn insert(&mut self, key: &[u8], value: u32) {
        let (mut at, mut rest) = (0, key);
        while let Some(&first) = rest.first() {
            match self.nodes[at]
                .children
                .binary_search_by_key(&first, |child| child.0)
            {
                Err(place) => {
                    let leaf = self.add(Node {
                        label: rest.into(),
                        ..Node::default()
                    });
                    self.nodes[at].children.insert(place, (first, leaf));
                    (at, rest) = (leaf as usize, &[]);
                }
                Ok(place) => {
                    let child = self.nodes[at].children[place].1 as usize;
                    let shared = shared_length(&self.nodes[child].label, rest);
                    if shared < self.nodes[child].label.len() {
                        self.split(child, shared);
                    }
                    (at, rest) = (child, &rest[shared..]);
                }
            }
        }
        self.nodes[at].values.push(value);
    }

    fn add(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).expect("an index holds far fewer than 2^32 keys")
    }

    /// Cuts a node's label in two; the lower half becomes its only child.
    fn split(&mut self, at: usize, length: usize) {
        let label = std::mem::take(&mut self.nodes[at].label);
        let (upper, lower) = label.split_at(length);
        let below = Node {
            label: lower.into(),
            values: std::mem::take(&mut self.nodes[at].values),
            children: std::mem::take(&mut self.nodes[at].children),
        };
        let below = self.add(below);
        self.nodes[at].label = upper.into();
        self.nodes[at].children = vec![(lower[0], below)];
    }

    /// Visits the values of every key that `text` begins with, shortest key first.
    pub(crate) fn visit(&self, text: impl Iterator<Item = u8>, visit: &mut impl FnMut(u32)) {
        let mut text = text;
        let mut node = &self.nodes[0];
        loop {
            node.values.iter().copied().for_each(&mut *visit);
            if node.children.is_empty() {
                return;
            }
            let Some(first) = text.next() else { return };
            let Ok(place) = node.children.binary_search_by_key(&first, |child| child.0) else {
                return;
            };
            node = &self.nodes[node.children[place].1 as usize];
            if !node.label[1..]
                .iter()
                .all(|byte| text.next() == Some(*byte))
            {
                return;
            }
        }
    }
}

fn shared_length(one: &[u8], other: &[u8]) -> usize {
    one.iter()
        .zip(other)
        .take_while(|(one, other)| one == other)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(tree: &Radix, text: &str) -> Vec<u32> {
        let mut values = Vec::new();
        tree.visit(text.bytes(), &mut |value| values.push(value));
        values
    }

    #[test]
    fn every_key_on_the_way_is_found_and_no_other() {
        let mut tree = Radix::default();
        for (value, key) in ["", "phone", "phonenumber/1555", "phonebook", "p"]
            .iter()
            .enumerate()
        {
            tree.insert(key.as_bytes(), u32::try_from(value).unwrap());
        }
        assert_eq!(found(&tree, "phonenumber/15551"), [0, 4, 1, 2]);
        assert_eq!(found(&tree, "phonebook"), [0, 4, 1, 3]);
        assert_eq!(found(&tree, "x"), [0]);
        assert_eq!(found(&tree, ""), [0]);
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_a_scan_finds(
            keys in proptest::collection::vec("[ab]{0,6}", 0..40),
            text in "[ab]{0,8}",
        ) {
            let mut tree = Radix::default();
            for (value, key) in (0..).zip(&keys) {
                tree.insert(key.as_bytes(), value);
            }
            let mut values = found(&tree, &text);
            values.sort_unstable();
            let scanned: Vec<u32> =
                (0..).zip(&keys).filter(|(_, key)| text.starts_with(*key)).map(|(value, _)| value).collect();
            prop_assert_eq!(values, scanned);
        }
    }
}
