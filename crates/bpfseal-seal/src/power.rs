//! Powers modulo a number, of what everybody may know: signatures and public keys.
//!
//! `num-bigint` goes through 64 bits for the 17 of the usual exponent, and takes six times as long
//! as this. Not for secrets: what it does depends on the numbers.

use num_bigint::BigUint;

/// `base` to the power of `exponent`, modulo `modulus`, which is not zero.
pub(crate) fn power(base: &BigUint, exponent: &BigUint, modulus: &BigUint) -> BigUint {
    match Montgomery::new(modulus) {
        Some(form) if exponent.bits() > 0 => form.power(base, exponent),
        _ => base.modpow(exponent, modulus),
    }
}

/// Multiplication modulo an odd number by Montgomery's method: products are divided by R, which is
/// 2 to the power of 64 times the count of limbs.
struct Montgomery<'a> {
    modulus: &'a BigUint,
    /// The modulus in limbs, the lowest first.
    limbs: Vec<u64>,
    /// −1 / modulus, modulo 2⁶⁴.
    inverse: u64,
}

impl<'a> Montgomery<'a> {
    fn new(modulus: &'a BigUint) -> Option<Self> {
        let limbs = modulus.to_u64_digits();
        let lowest = *limbs.first()?;
        if lowest % 2 == 0 {
            return None;
        }
        // Newton's method: each round doubles the bits that are right, of which the first has 3.
        let mut inverse = lowest;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(lowest.wrapping_mul(inverse)));
        }
        Some(Self {
            modulus,
            limbs,
            inverse: inverse.wrapping_neg(),
        })
    }

    /// The exponent is not zero.
    fn power(&self, base: &BigUint, exponent: &BigUint) -> BigUint {
        let count = self.limbs.len();
        let padded = |number: &BigUint| {
            let mut limbs = number.to_u64_digits();
            limbs.resize(count, 0);
            limbs
        };
        // Times R, so that the quotients of products keep it.
        let base = padded(&((base << (64 * count)) % self.modulus));
        let mut power = base.clone();
        let mut product = vec![0; count + 1];
        for bit in (0..exponent.bits() - 1).rev() {
            self.multiply(&power, &power, &mut product);
            power.copy_from_slice(&product[..count]);
            if exponent.bit(bit) {
                self.multiply(&power, &base, &mut product);
                power.copy_from_slice(&product[..count]);
            }
        }
        self.multiply(&power, &padded(&BigUint::from(1_u8)), &mut product);
        let halves = product[..count]
            .iter()
            .flat_map(|limb| [*limb as u32, (limb >> 32) as u32]);
        BigUint::new(halves.collect())
    }

    /// `a * b / R`, into all limbs of `sum` but the last. Both are below the modulus.
    fn multiply(&self, a: &[u64], b: &[u64], sum: &mut [u64]) {
        // Known to be as long as each other, so that the loop needs no checks.
        let modulus = self.limbs.as_slice();
        let count = modulus.len();
        let (a, sum) = (&a[..count], &mut sum[..=count]);
        sum.fill(0);
        for limb in b {
            // Adds a product, and as many times the modulus as make the lowest limb zero, which is
            // then shifted out.
            let (low, mut carry) = multiply_add(a[0], *limb, sum[0], 0);
            let times = low.wrapping_mul(self.inverse);
            let (_, mut modulus_carry) = multiply_add(times, modulus[0], low, 0);
            for at in 1..count {
                let (low, high) = multiply_add(a[at], *limb, sum[at], carry);
                carry = high;
                let (low, high) = multiply_add(times, modulus[at], low, modulus_carry);
                modulus_carry = high;
                sum[at - 1] = low;
            }
            let top = u128::from(sum[count]) + u128::from(carry) + u128::from(modulus_carry);
            sum[count - 1] = top as u64;
            sum[count] = (top >> 64) as u64;
        }
        let below = sum[count] == 0 && sum[..count].iter().rev().lt(modulus.iter().rev());
        if !below {
            let mut borrow = false;
            for (limb, subtracted) in sum.iter_mut().zip(modulus) {
                let (rest, first) = limb.overflowing_sub(*subtracted);
                let (rest, second) = rest.overflowing_sub(u64::from(borrow));
                (*limb, borrow) = (rest, first || second);
            }
        }
    }
}

/// `a * b + c + d`: low and high half. It cannot overflow.
fn multiply_add(a: u64, b: u64, c: u64, d: u64) -> (u64, u64) {
    let sum = u128::from(a) * u128::from(b) + u128::from(c) + u128::from(d);
    (sum as u64, (sum >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(limbs: &[u32]) -> BigUint {
        BigUint::from_slice(limbs)
    }

    /// Limbs at the ends of their range are likely, because carries go wrong there.
    fn limbs(max: usize) -> impl Strategy<Value = Vec<u32>> {
        let limb = prop_oneof![
            any::<u32>(),
            Just(0),
            Just(u32::MAX),
            Just(1),
            Just(1 << 31)
        ];
        prop::collection::vec(limb, 1..max)
    }

    #[test]
    fn the_exponents_that_keys_have() {
        let modulus: BigUint = (BigUint::from(1_u8) << 2048) - 159_u8;
        let base = &modulus / 3_u8;
        for exponent in [0_u32, 1, 2, 3, 17, 65537, u32::MAX] {
            let exponent = BigUint::from(exponent);
            let wanted = base.modpow(&exponent, &modulus);
            assert_eq!(power(&base, &exponent, &modulus), wanted, "{exponent}");
        }
    }

    proptest! {
        #[test]
        fn powers_are_those_of_the_library(
            base in limbs(20),
            exponent in limbs(3),
            modulus in limbs(20),
        ) {
            let (base, exponent) = (number(&base), number(&exponent));
            let modulus = number(&modulus) + 1_u8;
            prop_assert_eq!(
                power(&base, &exponent, &modulus),
                base.modpow(&exponent, &modulus)
            );
        }
    }
}
