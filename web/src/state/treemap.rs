//! Lays rectangles out so that areas are in proportion and none is a splinter.
//!
//! The squarified treemap of Bruls, Huizing and van Wijk (2000): a row takes items while that makes the worst
//! side ratio of the row better.

/// A rectangle, in the units of the frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    /// Left edge.
    pub(crate) x: f64,
    /// Upper edge.
    pub(crate) y: f64,
    /// Width.
    pub(crate) width: f64,
    /// Height.
    pub(crate) height: f64,
}

/// Rectangles for `weights`, which come largest first and are all positive, filling a frame from (0, 0).
pub(crate) fn squarify(weights: &[f64], width: f64, height: f64) -> Vec<Rect> {
    let total: f64 = weights.iter().sum();
    let mut rects = Vec::with_capacity(weights.len());
    if total <= 0.0 || width <= 0.0 || height <= 0.0 {
        return rects;
    }
    let scale = width * height / total;
    let mut free = Rect { x: 0.0, y: 0.0, width, height };
    let mut rest = weights;
    while !rest.is_empty() {
        let side = free.width.min(free.height);
        let mut taken = 1;
        while taken < rest.len() && worst(&rest[..=taken], scale, side) <= worst(&rest[..taken], scale, side)
        {
            taken += 1;
        }
        let (row, after) = rest.split_at(taken);
        free = place(row, scale, free, &mut rects);
        rest = after;
    }
    rects
}

/// The rectangle that lies nearest in a direction, by centres; `None` where there is none.
pub(crate) fn neighbour(rects: &[Rect], from: usize, (right, down): (f64, f64)) -> Option<usize> {
    let centre = |rect: &Rect| (rect.x + rect.width / 2.0, rect.y + rect.height / 2.0);
    let (x, y) = centre(rects.get(from)?);
    let cost = |rect: &Rect| {
        let (dx, dy) = (centre(rect).0 - x, centre(rect).1 - y);
        let along = dx * right + dy * down;
        // What lies aside counts double, so that a step goes where it points.
        (along > 0.5).then_some(along + 2.0 * (dx * down).hypot(dy * right))
    };
    let costs = rects.iter().enumerate().filter_map(|(index, rect)| Some((index, cost(rect)?)));
    costs.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index)
}

/// The worst ratio of sides in a row along `side`.
fn worst(row: &[f64], scale: f64, side: f64) -> f64 {
    let area: f64 = row.iter().sum::<f64>() * scale;
    let depth = area / side;
    row.iter()
        .map(|weight| {
            let along = weight * scale / depth;
            (along / depth).max(depth / along)
        })
        .fold(0.0, f64::max)
}

/// Places a row along the shorter side of what is free. Answers what stays free.
fn place(row: &[f64], scale: f64, free: Rect, rects: &mut Vec<Rect>) -> Rect {
    let area: f64 = row.iter().sum::<f64>() * scale;
    let upright = free.width >= free.height;
    let depth = area / if upright { free.height } else { free.width };
    let mut at = if upright { free.y } else { free.x };
    for weight in row {
        let along = weight * scale / depth;
        rects.push(if upright {
            Rect { x: free.x, y: at, width: depth, height: along }
        } else {
            Rect { x: at, y: free.y, width: along, height: depth }
        });
        at += along;
    }
    if upright {
        Rect { x: free.x + depth, width: (free.width - depth).max(0.0), ..free }
    } else {
        Rect { y: free.y + depth, height: (free.height - depth).max(0.0), ..free }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of the paper: 6, 6, 4, 3, 2, 2, 1 in a frame of 6 by 4.
    #[test]
    fn the_papers_example() {
        let rects = squarify(&[6.0, 6.0, 4.0, 3.0, 2.0, 2.0, 1.0], 6.0, 4.0);
        let expected = [
            (0.0, 0.0, 3.0, 2.0),
            (0.0, 2.0, 3.0, 2.0),
            (3.0, 0.0, 12.0 / 7.0, 7.0 / 3.0),
            (3.0 + 12.0 / 7.0, 0.0, 9.0 / 7.0, 7.0 / 3.0),
        ];
        for (rect, (x, y, width, height)) in rects.iter().zip(expected) {
            for (found, wanted) in [(rect.x, x), (rect.y, y), (rect.width, width), (rect.height, height)] {
                assert!((found - wanted).abs() < 1e-9, "{rect:?}");
            }
        }
    }

    #[test]
    fn areas_are_in_proportion_and_fill_the_frame() {
        let weights: Vec<f64> = (1..=60).rev().map(|weight| f64::from(weight * weight)).collect();
        let rects = squarify(&weights, 640.0, 200.0);
        let total: f64 = weights.iter().sum();
        for (weight, rect) in weights.iter().zip(&rects) {
            assert!((rect.width * rect.height - weight / total * 128_000.0).abs() < 1e-6);
            assert!(rect.x + rect.width < 640.001 && rect.y + rect.height < 200.001, "{rect:?}");
        }
        assert_eq!(rects.len(), 60);
    }

    #[test]
    fn a_step_goes_where_it_points() {
        let square = |x, y| Rect { x, y, width: 10.0, height: 10.0 };
        let rects = [square(0.0, 0.0), square(10.0, 0.0), square(0.0, 10.0), square(10.0, 10.0)];
        let to = |from, step| neighbour(&rects, from, step);
        assert_eq!(
            [to(0, (1.0, 0.0)), to(0, (0.0, 1.0)), to(3, (-1.0, 0.0)), to(3, (0.0, -1.0))],
            [Some(1), Some(2), Some(2), Some(1)]
        );
        assert_eq!([to(0, (-1.0, 0.0)), to(9, (1.0, 0.0))], [None, None]);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(squarify(&[], 10.0, 10.0), []);
        assert_eq!(squarify(&[1.0], 0.0, 10.0), []);
    }
}
