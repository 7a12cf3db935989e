//! How many segments a text takes.
//!
//! Source: reference communication-services 6: GSM-7 160 characters (153 a part), UCS-2 70 (67 a part).

/// The basic table of GSM 03.38 without its escape, as Unicode.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

/// What takes two places, because an escape stands before it.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// The number of segments; an empty text takes one.
pub fn count(text: &str) -> u32 {
    let (sizes, whole, part): (Vec<usize>, usize, usize) = match gsm_sizes(text) {
        Some(sizes) => (sizes, 160, 153),
        None => (text.chars().map(char::len_utf16).collect(), 70, 67),
    };
    if sizes.iter().sum::<usize>() <= whole {
        return 1;
    }
    u32::try_from(fill(&sizes, part)).unwrap_or(u32::MAX)
}

/// The places each character takes in GSM-7, or `None` when one is not in its tables.
fn gsm_sizes(text: &str) -> Option<Vec<usize>> {
    text.chars().map(gsm_size).collect()
}

fn gsm_size(c: char) -> Option<usize> {
    if c.is_ascii_alphanumeric() || c == ' ' || BASIC.contains(c) {
        Some(1)
    } else if EXTENSION.contains(c) {
        Some(2)
    } else {
        None
    }
}

/// How many parts are filled when no character is torn across two of them.
fn fill(sizes: &[usize], part: usize) -> usize {
    let mut parts = 1;
    let mut used = 0;
    for size in sizes {
        if part < used + size {
            parts += 1;
            used = 0;
        }
        used += size;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_bounds_hold_in_gsm_7() {
        assert_eq!(count(""), 1);
        assert_eq!(count(&"a".repeat(160)), 1);
        assert_eq!(count(&"a".repeat(161)), 2);
        assert_eq!(count(&"a".repeat(306)), 2);
        assert_eq!(count(&"a".repeat(307)), 3);
        assert_eq!(count(&"€".repeat(80)), 1);
        assert_eq!(count(&"€".repeat(81)), 2);
    }

    #[test]
    fn the_documented_bounds_hold_in_ucs_2() {
        assert_eq!(count(&"ж".repeat(70)), 1);
        assert_eq!(count(&"ж".repeat(71)), 2);
        assert_eq!(count(&"ж".repeat(134)), 2);
        assert_eq!(count(&"ж".repeat(135)), 3);
        assert_eq!(count(&"😀".repeat(35)), 1);
        assert_eq!(count(&"😀".repeat(36)), 2);
    }

    #[test]
    fn no_character_is_torn_across_two_parts() {
        // 153 places hold 76 pairs and leave one free: 153 euro signs need three parts, not two.
        assert_eq!(count(&"€".repeat(152)), 2);
        assert_eq!(count(&"€".repeat(153)), 3);
    }

    #[test]
    fn one_foreign_character_makes_the_whole_text_ucs_2() {
        assert_eq!(count(&"a".repeat(71)), 1);
        assert_eq!(count(&format!("{}ж", "a".repeat(70))), 2);
    }
}
