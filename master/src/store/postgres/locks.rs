//! The numbers of the locks that are not a row's. They are per database, so that other programs of
//! other databases do not stand in the way.

/// Of whatever is Orchestra's.
const OURS: i64 = 0x6f72_6368_0000_0000;

/// Held by every transaction: shared by those that change jobs, alone by those that change what all
/// others go by (rules of queues, schedules, webhooks).
pub(super) const ORDER: i64 = OURS + 1;
/// Held by those that add jobs.
pub(super) const IDS: i64 = OURS + 2;
/// Held by those that bring uploads or forget them, and by those whose jobs have some: whoever finds one
/// there keeps it before it is forgotten.
pub(super) const UPLOADS: i64 = OURS + 4;
/// Held, for as long as it lives, by the master that does upkeep.
pub(super) const LEADER: i64 = OURS + 3;
