//! Slots: a fixed number of places with generations, so that a slot kept too long finds nothing instead of another's
//! thing. Not a map: ids are looked up in one place, loops run on slots. Owned by the shard; full is the caller's
//! counted refusal.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// A place in a [`Slab`] and the generation that may use it.
pub trait Slot: Copy + PartialEq {
    /// Puts the two halves together.
    fn new(index: u32, generation: u32) -> Self;
    /// The place.
    fn index(self) -> usize;
    /// Who is meant.
    fn generation(self) -> u32;
}

macro_rules! slots {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            index: u32,
            generation: u32,
        }
        impl Slot for $name {
            fn new(index: u32, generation: u32) -> Self {
                Self { index, generation }
            }
            fn index(self) -> usize {
                self.index as usize
            }
            fn generation(self) -> u32 {
                self.generation
            }
        }
    )*};
}

slots! {
    /// A burst known to this shard.
    BurstSlot
    /// A talkgroup or RF channel.
    GroupSlot
    /// A leg of a patch this shard takes part in.
    LegSlot
    /// A patch this shard takes part in.
    PatchSlot
    /// A port of this shard.
    PortSlot
}

/// A fixed number of places.
#[derive(Debug)]
pub struct Slab<S, T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    /// Places below this have been used at least once.
    reach: usize,
    slots: PhantomData<S>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<S: Slot, T> Slab<S, T> {
    /// All places are made now; none is ever added.
    pub fn new(capacity: usize) -> Self {
        let places = (0..capacity).map(|_| Place { generation: 0, value: None }).collect();
        let free = (0..capacity as u32).rev().collect();
        Self { places, free, reach: 0, slots: PhantomData }
    }

    /// The value comes back if every place is taken.
    pub fn insert(&mut self, value: T) -> Result<S, T> {
        let Some(index) = self.free.pop() else { return Err(value) };
        let place = &mut self.places[index as usize];
        place.value = Some(value);
        self.reach = self.reach.max(index as usize + 1);
        Ok(S::new(index, place.generation))
    }

    /// Takes the value out; its slot finds nothing from now on.
    pub fn remove(&mut self, slot: S) -> Option<T> {
        let place = self.places.get_mut(slot.index()).filter(|place| place.generation == slot.generation())?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot.index() as u32);
        Some(value)
    }

    /// What the slot means, if it still means something.
    pub fn get(&self, slot: S) -> Option<&T> {
        self.places.get(slot.index()).filter(|place| place.generation == slot.generation())?.value.as_ref()
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, slot: S) -> Option<&mut T> {
        self.places.get_mut(slot.index()).filter(|place| place.generation == slot.generation())?.value.as_mut()
    }

    /// Whether nothing more fits.
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Places in use.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether no place is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How far places have ever been used; with [`Self::slot_at`] a loop that may change what it walks over and costs
    /// nothing for what was never opened.
    pub fn reach(&self) -> usize {
        self.reach
    }

    /// The slot of a place in use.
    pub fn slot_at(&self, index: usize) -> Option<S> {
        let place = self.places.get(index)?;
        place.value.as_ref().map(|_| S::new(index as u32, place.generation))
    }

    /// Every value with its slot, by place.
    pub fn iter(&self) -> impl Iterator<Item = (S, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            place.value.as_ref().map(|value| (S::new(index as u32, place.generation), value))
        })
    }
}

impl<S: Slot, T> Index<S> for Slab<S, T> {
    type Output = T;
    /// Panics if the slot is stale: whoever indexes has just proven that it is not.
    fn index(&self, slot: S) -> &T {
        self.get(slot).expect("the slot's owner keeps it alive")
    }
}

impl<S: Slot, T> IndexMut<S> for Slab<S, T> {
    fn index_mut(&mut self, slot: S) -> &mut T {
        self.get_mut(slot).expect("the slot's owner keeps it alive")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_kept_too_long_finds_nothing() {
        let mut slab: Slab<PortSlot, char> = Slab::new(1);
        let first = slab.insert('a').unwrap();
        assert_eq!(slab.insert('b'), Err('b'), "a full slab gives the value back");
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('c').unwrap();
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&'c')));
        assert_eq!(slab.remove(first), None, "a stale slot removed another's thing");
        assert_eq!(slab.len(), 1);
    }
}
