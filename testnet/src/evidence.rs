//! What a run's directory says: everything here is a function of its files, so that an old run can be looked at again.
//!
//! [`record`] has the lines of the files, [`recording`] reads them together, [`blocks`] says how blocks travelled, [`figures`] and
//! [`mining`] what that comes to, and the rest shows it.

pub mod blocks;
pub mod commands;
pub mod compare;
pub mod figures;
pub mod grafana;
pub mod html;
pub mod junit;
pub mod mining;
pub mod record;
pub mod recording;
pub mod statistics;
pub mod summary;
pub mod trace;
