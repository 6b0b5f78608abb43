//! A client for the control interface.
