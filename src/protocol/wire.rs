//! The wire: bytes to messages and back. One TCP connection carries frames, one frame carries one message.

pub mod compact;
pub mod error;
pub mod frame;
pub mod limits;
pub mod message;
