//! What can be asked of a signature beyond what the kernel asks.

use crate::attestation::Attestation;
use crate::certificate::Certificate;
use crate::rejection::Rejection;
use crate::trust::TrustStore;

/// What is asked of a signature beyond what the kernel asks. Nothing by default.
#[derive(Debug, Clone, Default)]
pub struct Strictness {
    /// All certificates have to be valid at this time, in seconds since 1970.
    pub at: Option<u64>,
    /// The signer's certificate has to be for signing code.
    pub code_signing: bool,
    /// Trust has to come from this certificate, or from one that it issued.
    pub chain_to: Option<Certificate>,
}

impl Attestation {
    /// Asks for more than the kernel does. The trust store is where issuers of the trusted
    /// certificate are looked for.
    ///
    /// # Errors
    /// [`Rejection::NotValid`], [`Rejection::NotForCode`] or [`Rejection::NotBelow`].
    pub fn check(&self, strictness: &Strictness, trust: &TrustStore) -> Result<(), Rejection> {
        // Each of them is vouched for: an embedded copy of the trusted certificate, of which the
        // kernel compares the name alone, is not among them.
        let embedded = self.chain();
        let all = || embedded.iter().chain([&self.trusted]);
        if let Some(now) = strictness.at
            && let Some(bad) = all().find(|c| now < c.validity().0 || now > c.validity().1)
        {
            return Err(Rejection::NotValid {
                certificate: bad.subject(),
            });
        }
        let signer = embedded.first().unwrap_or(&self.trusted);
        if strictness.code_signing && !signer.is_for_code_signing() {
            return Err(Rejection::NotForCode {
                certificate: signer.subject(),
            });
        }
        let Some(wanted) = &strictness.chain_to else {
            return Ok(());
        };
        // The chain below what is trusted was checked.
        let mut at = &self.trusted;
        for _ in 0..MAX_CHAIN {
            if at == wanted || all().any(|c| c == wanted) {
                return Ok(());
            }
            let mut issuers = trust.certificates().iter().chain([wanted]);
            let issuer =
                issuers.find(|issuer| *issuer != at && at.is_issued_by(issuer, trust.config()));
            match issuer {
                Some(issuer) => at = issuer,
                None => break,
            }
        }
        Err(Rejection::NotBelow {
            trusted: self.trusted.subject(),
            wanted: wanted.subject(),
        })
    }
}

impl Strictness {
    /// Reads a time for [`Self::at`]: seconds since 1970, or a date and time in UTC as ISO 8601
    /// writes it, `2026-11-25` or `2026-11-25T12:00:00Z`. `None` for anything else.
    #[must_use]
    pub fn parse_time(text: &str) -> Option<u64> {
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().ok();
        }
        let time = if text.len() == "2026-11-25".len() {
            &format!("{text}T00:00:00Z")
        } else {
            text
        };
        let time: der::DateTime = time.parse().ok()?;
        Some(time.unix_duration().as_secs())
    }
}

/// Most certificates above a trusted one.
const MAX_CHAIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_dates() {
        for (text, seconds) in [
            ("0", 0),
            ("1795581900", 1_795_581_900),
            ("2026-11-25T04:45:00Z", 1_795_581_900),
            ("2050-01-01", 2_524_608_000),
        ] {
            assert_eq!(Strictness::parse_time(text), Some(seconds), "{text}");
        }
        for bad in [
            "",
            "-1",
            "now",
            "2026-13-01",
            "2026-11-25T04:45:00",
            "2026-11-25 04:45",
            "1e9",
        ] {
            assert_eq!(Strictness::parse_time(bad), None, "{bad}");
        }
    }
}
