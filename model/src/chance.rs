//! Where random numbers come from.
//!
//! Promise: everything below `server` that needs chance takes it from here, so that a seed replays a run.

/// A source of random numbers. The server's is seeded by the operating system, a test's by a number it prints.
pub trait Chance: Send + Sync + 'static {
    /// Fills `bytes` with random values. Strong enough for keys and tokens when the server made the source.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Chance {
    /// A random number below 2^64.
    pub fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number drawn evenly from `0.0 <= x < 1.0`.
    pub fn fraction(&self) -> f64 {
        // 53 bits are what a double holds exactly.
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A version 4 UUID in its usual lower-case text form.
    pub fn uuid(&self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble & 0x0f)]);
        let mut text = String::with_capacity(36);
        for (index, byte) in bytes.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push(digit(byte >> 4));
            text.push(digit(*byte));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones;

    impl Chance for Ones {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0xff);
        }
    }

    #[test]
    fn a_uuid_carries_its_version_and_variant() {
        let chance: &dyn Chance = &Ones;
        assert_eq!(chance.uuid(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn a_fraction_stays_below_one() {
        let chance: &dyn Chance = &Ones;
        assert!(chance.fraction() < 1.0);
    }
}
