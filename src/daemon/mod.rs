//! Joins the rooms.

pub mod lease;
