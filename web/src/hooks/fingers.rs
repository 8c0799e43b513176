//! Two fingers on a picture: apart zooms in, together zooms out, around the place between them.

/// Fingers apart by this much more than before are a step; so are those together by as much.
const STEP: f64 = 1.4;
/// Distances below this many pixels are noise.
const LEAST: f64 = 8.0;

/// The fingers that are down, by the browser's number for each.
#[derive(Default)]
pub(crate) struct Fingers {
    down: Vec<(i32, (f64, f64))>,
    /// How far two were apart at the last step.
    apart: f64,
}

impl Fingers {
    /// A finger comes down; a third is of no interest.
    pub(crate) fn put(&mut self, id: i32, place: (f64, f64)) {
        // A mouse always has the same number, and may have come up where nobody saw it.
        self.lift(id);
        if self.down.len() < 2 {
            self.down.push((id, place));
            self.apart = self.distance();
        }
    }

    /// A finger goes up.
    pub(crate) fn lift(&mut self, id: i32) {
        self.down.retain(|(own, _)| *own != id);
    }

    /// Whether two are down.
    pub(crate) fn are_two(&self) -> bool {
        self.down.len() == 2
    }

    /// A finger moves: whether that is a step inward or outward, and around which place.
    pub(crate) fn moved(&mut self, id: i32, place: (f64, f64)) -> Option<(bool, (f64, f64))> {
        if let Some((_, own)) = self.down.iter_mut().find(|(own, _)| *own == id) {
            *own = place;
        }
        let [(_, a), (_, b)] = self.down.as_slice() else { return None };
        let middle = (a.0.midpoint(b.0), a.1.midpoint(b.1));
        let now = self.distance();
        let inward = now > self.apart * STEP;
        if !inward && now * STEP > self.apart {
            return None;
        }
        self.apart = now;
        Some((inward, middle))
    }

    fn distance(&self) -> f64 {
        match self.down.as_slice() {
            [(_, a), (_, b)] => (a.0 - b.0).hypot(a.1 - b.1).max(LEAST),
            _ => LEAST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fingers;

    #[test]
    fn apart_is_inward_and_together_outward_a_step_at_a_time() {
        let mut fingers = Fingers::default();
        fingers.put(7, (100.0, 50.0));
        assert_eq!(fingers.moved(7, (300.0, 50.0)), None, "one finger is no pinch");
        fingers.put(9, (340.0, 50.0));
        assert!(fingers.are_two());
        assert_eq!(fingers.moved(9, (350.0, 50.0)), None, "too little");
        assert_eq!(fingers.moved(9, (380.0, 50.0)), Some((true, (340.0, 50.0))));
        assert_eq!(fingers.moved(9, (390.0, 50.0)), None, "the next step begins from the last one");
        assert_eq!(fingers.moved(7, (340.0, 50.0)), Some((false, (365.0, 50.0))));
        fingers.put(11, (0.0, 0.0));
        assert_eq!(fingers.moved(11, (500.0, 500.0)), None, "a third finger");
        fingers.lift(9);
        assert!(!fingers.are_two());
        assert_eq!(fingers.moved(7, (0.0, 0.0)), None);
    }

    #[test]
    fn fingers_in_one_place_are_no_step() {
        let mut fingers = Fingers::default();
        fingers.put(1, (5.0, 5.0));
        fingers.put(2, (5.0, 5.0));
        assert_eq!(fingers.moved(2, (6.0, 5.0)), None);
        assert_eq!(fingers.moved(2, (5.0, 5.0)), None);
    }
}
