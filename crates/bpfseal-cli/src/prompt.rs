//! Asking on the terminal for a passphrase or a PIN.
//!
//! The terminal stops echoing before the question is shown: whoever answers the question, person
//! or script, finds nothing of the answer on the screen. What was typed before the question is
//! thrown away. Ctrl-C restores the terminal and ends the command as a signal would.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Read, Write};

use bpfseal::seal::Secret;
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

/// The longest answer, in bytes: that of the kernel's own line editing.
const LONGEST: usize = 4095;

/// Asks for `what`, if there is somebody to ask.
///
/// `None` where standard input is no terminal, where the process has none, or where the answer
/// is the end of the input (Ctrl-D).
pub(crate) fn ask(what: &str) -> Option<Secret> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .ok()?;
    let quiet = Quiet::new(&terminal)?;
    (&terminal).write_all(format!("{what}: ").as_bytes()).ok()?;
    let answer = read_answer(&terminal);
    drop(quiet);
    match answer {
        Answer::Line(secret) => Some(secret),
        Answer::End => None,
        Answer::Interrupt => {
            // What the terminal would have done with the key. If the signal is ignored, there
            // was no answer.
            let _ = kill_process(getpid(), Signal::INT);
            None
        }
    }
}

/// A terminal that shows nothing of what is typed; the old mode comes back on drop.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(terminal: &'a File) -> Option<Self> {
        let before = tcgetattr(terminal).ok()?;
        let mut quiet = before.clone();
        // Keys come one by one, Ctrl-C among them: a signal would leave the terminal mute.
        quiet
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Flush, &quiet).ok()?;
        Some(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
        // The line break that was not echoed.
        let _ = (&mut &*self.terminal).write_all(b"\n");
    }
}

#[derive(Debug)]
enum Answer {
    Line(Secret),
    End,
    Interrupt,
}

/// One line of keys, with the usual ones to correct it.
fn read_answer(mut keys: impl Read) -> Answer {
    // Never grows: no copy of a secret stays behind in memory.
    let mut line = Vec::with_capacity(LONGEST);
    let mut key = [0];
    loop {
        match keys.read(&mut key) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Ok(1) => {}
            Ok(_) | Err(_) => return Answer::End,
        }
        match key[0] {
            b'\n' | b'\r' => return Answer::Line(Secret::new(line)),
            // Ctrl-C and Ctrl-\.
            0x03 | 0x1c => {
                drop(Secret::new(line));
                return Answer::Interrupt;
            }
            // Ctrl-D.
            0x04 if line.is_empty() => return Answer::End,
            0x04 => return Answer::Line(Secret::new(line)),
            // Backspace: a whole character of UTF-8.
            0x08 | 0x7f => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            // Ctrl-U.
            0x15 => line.clear(),
            byte if line.len() < LONGEST => line.push(byte),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(keys: &[u8]) -> Option<Vec<u8>> {
        match read_answer(keys) {
            Answer::Line(secret) => Some(secret.expose().to_vec()),
            Answer::End => None,
            Answer::Interrupt => panic!("interrupted: {keys:?}"),
        }
    }

    #[test]
    fn keys_that_edit() {
        assert_eq!(line(b"secret\r").unwrap(), b"secret");
        assert_eq!(line(b"secreT\x7ft\nrest").unwrap(), b"secret");
        assert_eq!(line("aü\x08b\n".as_bytes()).unwrap(), b"ab");
        assert_eq!(line(b"\x7f\x7fa\n").unwrap(), b"a");
        assert_eq!(line(b"wrong\x15right\n").unwrap(), b"right");
        assert_eq!(line(b"a\x04").unwrap(), b"a");
        assert_eq!(line(b"\n").unwrap(), b"");
        assert_eq!(line(b"\x04"), None);
        assert_eq!(line(b"no end"), None);
    }

    #[test]
    fn an_interrupt() {
        assert!(matches!(read_answer(&b"abc\x03"[..]), Answer::Interrupt));
    }

    #[test]
    fn a_line_that_is_too_long() {
        let keys = [vec![b'a'; 3 * LONGEST], vec![b'\n']].concat();
        assert_eq!(line(&keys).unwrap().len(), LONGEST);
    }
}
