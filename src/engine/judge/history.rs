//! The run database: past runs, their durations and metrics. No result depends on it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};
use serde::Serialize;

use crate::contract::event::Outcome;
use crate::contract::run_id::RunId;

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

/// Version 2: the latest result of each stage has its own table, so that a plan takes one query however many runs there
/// are.
const LATEST: &str = "
create table latest (
  pipeline text not null, stage text not null, fingerprint text not null, seconds real,
  primary key (pipeline, stage)) without rowid;
insert into latest
  select r.pipeline, s.name, s.fingerprint,
    (select t.seconds from stage t join run q on q.id = t.run
     where t.name = s.name and q.pipeline = r.pipeline and t.state = 'run' order by t.run desc limit 1)
  from stage s join run r on r.id = s.run
  where s.run = (select max(t.run) from stage t join run q on q.id = t.run where t.name = s.name and q.pipeline = r.pipeline)
  group by r.pipeline, s.name;
pragma user_version = 2;";

/// Version 3: each run has the id that its events carry.
const IDS: &str = "
alter table run add column uid text;
pragma user_version = 3;";

/// Version 4: each run has the project that it ran in, because projects can share a cache.
const ROOTS: &str = "
alter table run add column root text;
pragma user_version = 4;";

/// The run database cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct HistoryError(#[from] rusqlite::Error);

/// How long to wait for another process that has locked the database.
const WAIT: Duration = Duration::from_secs(5);

pub struct History {
    db: Mutex<Connection>,
}

/// One row of `pipe history`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunRecord {
    pub id: i64,
    /// The id in the run's events and in the name of its log; None for a run of an older program.
    pub run: Option<String>,
    pub pipeline: String,
    pub profile: Option<String>,
    /// Seconds since 1970.
    pub started: i64,
    /// None while a run goes on, and for a run that was killed.
    pub outcome: Option<Outcome>,
}

/// One metric of one stage in one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fact {
    pub stage: String,
    pub name: String,
    pub value: f64,
}

/// The last result of a stage in a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    pub fingerprint: String,
    /// How long it took when it last ran; None if it was always a hit.
    pub seconds: Option<f64>,
}

/// A use of a result: the last run of a stage that made it or took it from the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The root of the project; None for a run of an older program.
    pub root: Option<PathBuf>,
    pub pipeline: String,
    pub stage: String,
    /// Seconds since 1970.
    pub at: i64,
}

/// A stage that ended with a result.
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
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        let mut db = Connection::open(path)?;
        db.busy_timeout(WAIT)?;
        // A power cut may lose the last rows, but no result: results live in the entries.
        patiently(|| db.execute_batch("pragma journal_mode = wal; pragma synchronous = normal;"))?;
        // SQLite moves the log into the database every thousand pages. Doing it at every close would cost each run two
        // syncs.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        migrate(&mut db)?;
        Ok(Self { db: Mutex::new(db) })
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `root` is the project's.
    pub fn start_run(
        &self,
        id: &RunId,
        root: &Path,
        pipeline: &str,
        profile: Option<&str>,
    ) -> Result<i64, HistoryError> {
        let db = self.db();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        db.execute(
            "insert into run (pipeline, profile, started, uid, root) values (?1, ?2, ?3, ?4, ?5)",
            params![pipeline, profile, now as i64, id.as_str(), root.to_str()],
        )?;
        Ok(db.last_insert_rowid())
    }

    /// Record stages in one transaction.
    pub fn record(&self, run: i64, stages: &[StageRecord<'_>]) -> Result<(), HistoryError> {
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
            let ran = (s.state == "run").then_some(s.seconds);
            tx.prepare_cached(
                "insert into latest select pipeline, ?2, ?3, ?4 from run where id = ?1
                 on conflict do update set fingerprint = excluded.fingerprint, seconds = ifnull(excluded.seconds, seconds)",
            )?
            .execute(params![run, s.name, s.fingerprint, ran])?;
            for (name, value) in &s.facts {
                tx.prepare_cached("insert into fact values (?1, ?2, ?3, ?4)")?
                    .execute(params![run, s.name, name, value])?;
            }
        }
        Ok(tx.commit()?)
    }

    pub fn finish_run(&self, run: i64, o: &Outcome) -> Result<(), HistoryError> {
        self.db().execute(
            "update run set seconds = ?2, hits = ?3, ran = ?4, failed = ?5, blocked = ?6, interrupted = ?7 where id = ?1",
            params![run, o.seconds, o.hits as i64, o.ran as i64, o.failed as i64, o.blocked as i64, o.interrupted],
        )?;
        Ok(())
    }

    /// The last result of each stage of a pipeline.
    pub fn latest(&self, pipeline: &str) -> Result<HashMap<String, Latest>, HistoryError> {
        let db = self.db();
        let mut query = db.prepare("select stage, fingerprint, seconds from latest where pipeline = ?1")?;
        let rows =
            query.query_map([pipeline], |r| Ok((r.get(0)?, Latest { fingerprint: r.get(1)?, seconds: r.get(2)? })))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Who made or used each result, by fingerprint: one use for each project, pipeline and stage.
    pub fn uses(&self) -> Result<HashMap<String, Vec<Use>>, HistoryError> {
        let db = self.db();
        let mut query = db.prepare(
            "select s.fingerprint, r.root, r.pipeline, s.name, max(r.started) from stage s join run r on r.id = s.run
             group by 1, 2, 3, 4 order by 5 desc",
        )?;
        let mut all: HashMap<String, Vec<Use>> = HashMap::new();
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let root = row.get::<_, Option<String>>(1)?.map(PathBuf::from);
            let used = Use { root, pipeline: row.get(2)?, stage: row.get(3)?, at: row.get(4)? };
            all.entry(row.get(0)?).or_default().push(used);
        }
        Ok(all)
    }

    /// Runs of one pipeline or of all, newest first.
    pub fn runs(&self, pipeline: Option<&str>, most: usize) -> Result<Vec<RunRecord>, HistoryError> {
        let db = self.db();
        let mut query = db.prepare(
            "select id, pipeline, profile, started, seconds, hits, ran, failed, blocked, interrupted, uid from run
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
            let (pipeline, profile, started) = (r.get(1)?, r.get(2)?, r.get(3)?);
            Ok(RunRecord { id: r.get(0)?, run: r.get(10)?, pipeline, profile, started, outcome })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The metrics of a run, in the order they were recorded.
    pub fn facts(&self, run: i64) -> Result<Vec<Fact>, HistoryError> {
        let db = self.db();
        let mut query = db.prepare("select stage, name, value from fact where run = ?1 order by rowid")?;
        let rows = query.query_map([run], |r| Ok(Fact { stage: r.get(0)?, name: r.get(1)?, value: r.get(2)? }))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Retry while the database is busy. Several processes may open a new one at once, and the switch to WAL does not wait
/// by itself.
fn patiently<T>(mut attempt: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let begin = Instant::now();
    loop {
        match attempt() {
            Err(e)
                if matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
                    && begin.elapsed() < WAIT =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

/// Create or upgrade the tables. Several processes may start at once; the first does it.
fn migrate(db: &mut Connection) -> rusqlite::Result<()> {
    let version = |db: &Connection| db.query_row("pragma user_version", [], |r| r.get::<_, i64>(0));
    if version(db)? >= 4 {
        return Ok(());
    }
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if version(&tx)? == 0 {
        tx.execute_batch(SCHEMA)?;
    }
    if version(&tx)? == 1 {
        tx.execute_batch(LATEST)?;
    }
    if version(&tx)? == 2 {
        tx.execute_batch(IDS)?;
    }
    if version(&tx)? == 3 {
        tx.execute_batch(ROOTS)?;
    }
    tx.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_version_1_keeps_its_data() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h.sqlite");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(SCHEMA).unwrap();
        old.execute_batch(
            "insert into run (id, pipeline, started) values (1, 'p', 0), (2, 'p', 0), (3, 'other', 0);
             insert into stage values (1, 'a', 'k', 'f1', 'run', 3.0), (2, 'a', 'k', 'f2', 'hit', 9.0),
               (1, 'b', 'k', 'f3', 'run', 5.0), (3, 'a', 'k', 'f4', 'run', 7.0);",
        )
        .unwrap();
        drop(old);
        let history = History::open(&path).unwrap();
        let latest = history.latest("p").unwrap();
        assert_eq!(latest["a"], Latest { fingerprint: "f2".into(), seconds: Some(3.0) });
        assert_eq!(latest["b"], Latest { fingerprint: "f3".into(), seconds: Some(5.0) });
        assert_eq!(latest.len(), 2);
        // The upgraded database records further runs.
        let run = history.start_run(&RunId::now(), Path::new("/here"), "p", None).unwrap();
        let stage =
            |state, seconds| StageRecord { name: "a", kind: "k", fingerprint: "f5", state, seconds, facts: Vec::new() };
        history.record(run, &[stage("hit", 1.0)]).unwrap();
        assert_eq!(history.latest("p").unwrap()["a"], Latest { fingerprint: "f5".into(), seconds: Some(3.0) });
        history.record(run, &[stage("run", 2.0)]).unwrap();
        assert_eq!(history.latest("p").unwrap()["a"].seconds, Some(2.0));
        let uses = history.uses().unwrap();
        let roots = |fingerprint: &str| uses[fingerprint].iter().map(|used| used.root.clone()).collect::<Vec<_>>();
        assert_eq!((roots("f1"), roots("f5")), (vec![None], vec![Some("/here".into())]));
    }

    #[test]
    fn many_open_a_new_database_at_once() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("h.sqlite");
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(|| History::open(&path).map(drop))).collect();
                all.into_iter().for_each(|one| one.join().unwrap().unwrap());
            });
        }
    }
}
