//! Errors with their causes.
//!
//! In every crate here, the text of an error says one thing, and its cause is its
//! [`source`](std::error::Error::source). Whoever prints an error alone would lose the cause, so
//! [`Chain`] prints all of them; and `Debug` of our errors does too, because that is what is printed
//! when `main` returns one.

use std::error::Error;
use std::fmt;

/// An error and its causes on one line: `what failed: why: why`.
///
/// ```
/// use bpfseal_object::{Chain, Object};
///
/// let error = Object::parse(b"text", "text").unwrap_err();
/// eprintln!("text.o: {}", Chain(&error));
/// ```
#[derive(Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some libraries repeat their cause in their own text.
            if !last.ends_with(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `Debug` of errors as [`Chain`] prints them.
#[doc(hidden)]
#[macro_export]
macro_rules! debug_as_chain {
    ($($error:ty),* $(,)?) => {$(
        impl ::std::fmt::Debug for $error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&$crate::Chain(self), f)
            }
        }
    )*};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        #[source]
        cause: Option<Box<Told>>,
    }

    debug_as_chain!(Told);

    #[test]
    fn causes_are_told_once() {
        let told = |text, cause: Option<Told>| Told {
            text,
            cause: cause.map(Box::new),
        };
        let error = told("a", Some(told("b: c", Some(told("c", None)))));
        assert_eq!(Chain(&error).to_string(), "a: b: c");
        let result: Result<(), Told> = Err(error);
        assert_eq!(format!("{result:?}"), "Err(a: b: c)");
    }
}
