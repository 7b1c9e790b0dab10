//! The fast tests: in process, through public doors, one module for each room, in the order of the sentence.

mod script;

mod act;
mod daemon;
