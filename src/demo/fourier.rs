//! The fast Fourier transform that the demo's comparison needs: radix 2, in place. Not for the packet path.

/// A complex number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Complex {
    pub re: f32,
    pub im: f32,
}

impl Complex {
    pub fn times(self, by: Complex) -> Self {
        Self { re: self.re * by.re - self.im * by.im, im: self.re * by.im + self.im * by.re }
    }

    pub fn conjugate(self) -> Self {
        Self { re: self.re, im: -self.im }
    }

    fn plus(self, other: Complex) -> Self {
        Self { re: self.re + other.re, im: self.im + other.im }
    }

    fn minus(self, other: Complex) -> Self {
        Self { re: self.re - other.re, im: self.im - other.im }
    }
}

/// The forward transform, unscaled.
///
/// # Panics
/// If the length is no power of two: a bug of the caller.
pub fn transform(line: &mut [Complex]) {
    let size = line.len();
    assert!(size.is_power_of_two(), "radix 2");
    let bits = size.trailing_zeros();
    for at in 0..size {
        let mirrored = if bits == 0 { 0 } else { at.reverse_bits() >> (usize::BITS - bits) };
        if at < mirrored {
            line.swap(at, mirrored);
        }
    }
    let turns: Vec<Complex> = (0..size / 2)
        .map(|at| {
            let angle = -std::f64::consts::TAU * at as f64 / size as f64;
            Complex { re: angle.cos() as f32, im: angle.sin() as f32 }
        })
        .collect();
    let mut half = 1;
    while half < size {
        for pair in line.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (at, (a, b)) in low.iter_mut().zip(high).enumerate() {
                let turned = b.times(turns[at * (size / 2 / half)]);
                (*a, *b) = (a.plus(turned), a.minus(turned));
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_sum_that_defines_it() {
        let line: Vec<Complex> = (0..16).map(|n| Complex { re: (n * n % 7) as f32, im: (n % 3) as f32 }).collect();
        let mut fast = line.clone();
        transform(&mut fast);
        for (k, found) in fast.iter().enumerate() {
            let mut sum = Complex::default();
            for (n, value) in line.iter().enumerate() {
                let angle = -std::f32::consts::TAU * (k * n) as f32 / 16.0;
                sum = sum.plus(value.times(Complex { re: angle.cos(), im: angle.sin() }));
            }
            assert!((found.re - sum.re).abs() < 1e-3 && (found.im - sum.im).abs() < 1e-3, "{k}: {found:?} {sum:?}");
        }
    }
}
