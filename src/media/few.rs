//! A short list with a fixed number of places, held inline: how the media parts return several values without
//! allocating. It never grows; whoever sizes one derives `N` from what can happen in one call.

/// At most `N` items in the order they were pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Few<T, const N: usize> {
    items: [Option<T>; N],
    length: usize,
}

impl<T: Copy, const N: usize> Few<T, N> {
    /// An empty list.
    pub const fn new() -> Self {
        Self { items: [None; N], length: 0 }
    }
    /// False, and nothing kept, if all places are taken.
    #[must_use]
    pub fn push(&mut self, item: T) -> bool {
        match self.items.get_mut(self.length) {
            Some(place) => {
                *place = Some(item);
                self.length += 1;
                true
            }
            None => false,
        }
    }
    /// In the order of pushing.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.items.iter().flatten().copied()
    }
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.length
    }
    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<T: Copy, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_keeps_what_it_has_and_says_so() {
        let mut list = Few::<u8, 2>::new();
        assert!(list.is_empty() && list.push(7) && list.push(8) && !list.push(9));
        assert_eq!((list.iter().collect::<Vec<_>>(), list.len()), (vec![7, 8], 2));
    }
}
