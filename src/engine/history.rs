//! The run database: what ran when, how long it took, which numbers it gave. Losing it loses no result.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::event::Outcome;

const SCHEMA: &str = "
create table if not exists run (
  id integer primary key, pipeline text not null, profile text, started integer not null, seconds real,
  hits integer, ran integer, failed integer, blocked integer, interrupted integer);
create table if not exists stage (
  run integer not null references run(id), name text not null, kind text not null, fingerprint text not null,
  state text not null, seconds real not null);
create table if not exists fact (run integer not null references run(id), stage text not null, name text not null, value real not null);
create index if not exists stage_by_name on stage(name, run);
create index if not exists fact_by_run on fact(run);
pragma user_version = 1;";

pub struct History {
    db: Mutex<Connection>,
}

/// One row of `pipe history`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunRecord {
    pub id: i64,
    pub pipeline: String,
    pub profile: Option<String>,
    /// Seconds since 1970.
    pub started: i64,
    /// Absent while a run goes on, and for one that was killed.
    pub outcome: Option<Outcome>,
}

/// One number of one stage of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fact {
    pub stage: String,
    pub name: String,
    pub value: f64,
}

/// A stage that came to an end with a result.
pub struct StageRecord<'a> {
    pub name: &'a str,
    pub kind: &'a str,
    pub fingerprint: &'a str,
    /// `hit` or `run`.
    pub state: &'a str,
    pub seconds: f64,
    pub facts: Vec<(&'a str, f64)>,
}

impl History {
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let db = Connection::open(path)?;
        db.busy_timeout(Duration::from_secs(5))?;
        // The database may lose its last rows in a power cut, never a result: that lives in the entries.
        db.execute_batch("pragma journal_mode = wal; pragma synchronous = normal;")?;
        if db.query_row("pragma user_version", [], |r| r.get::<_, i64>(0))? == 0 {
            db.execute_batch(SCHEMA)?;
        }
        Ok(Self { db: Mutex::new(db) })
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn start_run(&self, pipeline: &str, profile: Option<&str>) -> rusqlite::Result<i64> {
        let db = self.db();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        db.execute(
            "insert into run (pipeline, profile, started) values (?1, ?2, ?3)",
            params![pipeline, profile, now as i64],
        )?;
        Ok(db.last_insert_rowid())
    }

    /// Record stages in one transaction.
    pub fn record(&self, run: i64, stages: &[StageRecord<'_>]) -> rusqlite::Result<()> {
        let mut db = self.db();
        let tx = db.transaction()?;
        for s in stages {
            tx.prepare_cached("insert into stage values (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
                run,
                s.name,
                s.kind,
                s.fingerprint,
                s.state,
                s.seconds
            ])?;
            for (name, value) in &s.facts {
                tx.prepare_cached("insert into fact values (?1, ?2, ?3, ?4)")?
                    .execute(params![run, s.name, name, value])?;
            }
        }
        tx.commit()
    }

    pub fn finish_run(&self, run: i64, o: &Outcome) -> rusqlite::Result<()> {
        self.db().execute(
            "update run set seconds = ?2, hits = ?3, ran = ?4, failed = ?5, blocked = ?6, interrupted = ?7 where id = ?1",
            params![run, o.seconds, o.hits as i64, o.ran as i64, o.failed as i64, o.blocked as i64, o.interrupted],
        )?;
        Ok(())
    }

    /// The fingerprint of a stage's last result in a pipeline.
    pub fn last_fingerprint(&self, pipeline: &str, stage: &str) -> Option<String> {
        self.last(pipeline, stage, "fingerprint", "('hit', 'run')")
    }

    /// What a stage took when it last ran.
    pub fn seconds(&self, pipeline: &str, stage: &str) -> Option<f64> {
        self.last(pipeline, stage, "seconds", "('run')")
    }

    fn last<T: rusqlite::types::FromSql>(&self, pipeline: &str, stage: &str, column: &str, states: &str) -> Option<T> {
        let sql = format!(
            "select s.{column} from stage s join run r on r.id = s.run where s.name = ?2 and r.pipeline = ?1 and s.state in {states} order by s.run desc limit 1"
        );
        self.db().prepare_cached(&sql).ok()?.query_row(params![pipeline, stage], |r| r.get(0)).optional().ok()?
    }

    /// The newest runs first, of one pipeline or of all.
    pub fn runs(&self, pipeline: Option<&str>, most: usize) -> rusqlite::Result<Vec<RunRecord>> {
        let db = self.db();
        let mut query = db.prepare(
            "select id, pipeline, profile, started, seconds, hits, ran, failed, blocked, interrupted from run
             where ?1 is null or pipeline = ?1 order by id desc limit ?2",
        )?;
        let count = |r: &rusqlite::Row<'_>, i| r.get::<_, Option<i64>>(i).map(|n| n.unwrap_or(0) as usize);
        let rows = query.query_map(params![pipeline, most as i64], |r| {
            let outcome = match r.get::<_, Option<f64>>(4)? {
                None => None,
                Some(seconds) => Some(Outcome {
                    hits: count(r, 5)?,
                    ran: count(r, 6)?,
                    failed: count(r, 7)?,
                    blocked: count(r, 8)?,
                    interrupted: r.get(9)?,
                    seconds,
                }),
            };
            Ok(RunRecord { id: r.get(0)?, pipeline: r.get(1)?, profile: r.get(2)?, started: r.get(3)?, outcome })
        })?;
        rows.collect()
    }

    /// The numbers of a run, in the order they were recorded.
    pub fn facts(&self, run: i64) -> rusqlite::Result<Vec<Fact>> {
        let db = self.db();
        let mut query = db.prepare("select stage, name, value from fact where run = ?1 order by rowid")?;
        let rows = query.query_map([run], |r| Ok(Fact { stage: r.get(0)?, name: r.get(1)?, value: r.get(2)? }))?;
        rows.collect()
    }
}
