//! Shows a bar for each running stage on a terminal; finished stages and notes scroll above as plain lines.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::color::{ACTIVE, Color, FAINT, STRONG};
use super::format;
use super::line::{Lines, Part, parts};
use super::pace::Pace;
use super::secret;
use pipe_engine::contract::event::{Event, Observer};
use pipe_engine::contract::progress::Progress;

/// Ten redraws per second look smooth and cost little. Progress events only store their values.
const FRAME: Duration = Duration::from_millis(100);

/// Columns of a bar on a wide and on a narrow terminal.
const BAR: usize = 20;
const NARROW_BAR: usize = 8;

/// Draws on standard error. One thread redraws all rows as a block, so nothing flickers and no event waits for the
/// terminal.
pub struct Live {
    screen: Arc<Mutex<Screen>>,
    ticker: Mutex<Option<JoinHandle<()>>>,
}

struct Screen {
    block: Block,
    lines: Lines,
    board: Board,
    over: bool,
}

impl Live {
    /// None if standard error is not a terminal that can be drawn on.
    pub fn new(color: Color) -> Option<Self> {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if is_dumb || !std::io::stderr().is_terminal() {
            return None;
        }
        let screen = Screen { block: Block::default(), lines: Lines::new(color), board: Board::default(), over: false };
        let screen = Arc::new(Mutex::new(screen));
        let ticker = std::thread::Builder::new().name("report".into()).spawn({
            let screen = screen.clone();
            move || {
                while lock(&screen).tick() {
                    std::thread::park_timeout(FRAME);
                }
            }
        });
        Some(Self { screen, ticker: Mutex::new(Some(ticker.ok()?)) })
    }

    fn close(&self) {
        lock(&self.screen).close();
        if let Some(ticker) = self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            ticker.thread().unpark();
            let _ = ticker.join();
        }
    }
}

impl Observer for Live {
    fn event(&self, event: &Event) {
        lock(&self.screen).event(event, Instant::now());
        if matches!(event, Event::RunFinished { .. }) {
            self.close();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock(screen: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Screen {
    fn event(&mut self, event: &Event, now: Instant) {
        self.board.event(event, now);
        if let Some(text) = self.lines.event(event) {
            self.show(&text, now);
        }
    }

    /// False once drawing is over.
    fn tick(&mut self) -> bool {
        if !self.over {
            self.show("", Instant::now());
        }
        !self.over
    }

    fn show(&mut self, above: &str, now: Instant) {
        let (width, height) = terminal_size::terminal_size_of(std::io::stderr())
            .map_or((80, 24), |(w, h)| (usize::from(w.0), usize::from(h.0)));
        // Leave one column free: a full last column makes some terminals wrap.
        let mut rows = self.board.draw(self.lines.width(), width.saturating_sub(1), now, self.lines.color());
        // Rows that have scrolled off the top cannot be redrawn.
        rows.truncate(height.saturating_sub(1));
        let rows = if self.over { Vec::new() } else { rows };
        // Ignore write errors: the reader has gone away.
        let _ = secret::write(&mut std::io::stderr(), &self.block.frame(above, rows));
    }

    fn close(&mut self) {
        if !self.over {
            self.over = true;
            self.show("", Instant::now());
        }
    }
}

/// The rows at the bottom of the terminal; the cursor is on the line below them.
#[derive(Debug, Default)]
struct Block {
    rows: Vec<String>,
}

impl Block {
    /// The output that shows `above` over the new rows. It overwrites the old rows in one write instead of clearing
    /// them first, so that nothing flickers. It is empty if nothing changes.
    fn frame(&mut self, above: &str, rows: Vec<String>) -> String {
        if above.is_empty() && rows == self.rows {
            return String::new();
        }
        let mut out = match self.rows.len() {
            0 => String::new(),
            up => format!("\u{1b}[{up}A\r"),
        };
        for line in above.lines().chain(rows.iter().map(String::as_str)) {
            out.push_str(line);
            // Clear the rest of the line.
            out.push_str("\u{1b}[K\n");
        }
        if !self.rows.is_empty() {
            out.push_str("\u{1b}[J");
        }
        self.rows = rows;
        out
    }
}

/// The running stages and their progress.
#[derive(Debug, Default)]
struct Board {
    rows: Vec<Row>,
    stages: usize,
    settled: usize,
    start: Option<Instant>,
}

#[derive(Debug)]
struct Row {
    stage: String,
    start: Instant,
    waiting: bool,
    progress: Option<(Progress, Pace)>,
}

impl Board {
    fn event(&mut self, event: &Event, now: Instant) {
        match event {
            Event::RunStarted { stages, .. } => {
                (self.stages, self.start) = (stages.len(), Some(now));
                // Rows of downloads before the run are not stages.
                self.rows.clear();
            }
            Event::TrialsStarted { stages, .. } => self.stages += stages.len(),
            Event::Fetched { reference, .. } => self.rows.retain(|r| r.stage != *reference),
            Event::StageWaiting { stage, .. } => self.row(stage, now).waiting = true,
            Event::StageStarted { stage, .. } => {
                let row = self.row(stage, now);
                (row.start, row.waiting) = (now, false);
            }
            Event::Progress { stage, progress } => {
                let row = self.row(stage, now);
                match &mut row.progress {
                    Some((last, pace)) => {
                        pace.update(progress, now);
                        *last = progress.clone();
                    }
                    none => *none = Some((progress.clone(), Pace::new(progress, now))),
                }
            }
            Event::StageHit { stage, .. }
            | Event::StageDone { stage, .. }
            | Event::StageFailed { stage, .. }
            | Event::StageBlocked { stage, .. }
            | Event::StageInterrupted { stage } => {
                self.settled += 1;
                self.rows.retain(|r| r.stage != *stage);
            }
            _ => {}
        }
    }

    fn row(&mut self, stage: &str, now: Instant) -> &mut Row {
        let at = self.rows.iter().position(|r| r.stage == stage).unwrap_or_else(|| {
            self.rows.push(Row { stage: stage.into(), start: now, waiting: false, progress: None });
            self.rows.len() - 1
        });
        &mut self.rows[at]
    }

    /// The block: one line for each running stage and one for the whole run, none wider than `width`.
    fn draw(&self, names: usize, width: usize, now: Instant, color: Color) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let names = self.rows.iter().map(|r| r.stage.width()).max().unwrap_or(0).max(names);
        let mut lines: Vec<String> = self.rows.iter().map(|row| row.draw(names, width, now, color)).collect();
        if let Some(start) = self.start {
            let text = format!("     {} of {} done  {}", self.settled, self.stages, clock(now - start));
            lines.push(color.paint(FAINT, &cut(&text, width)));
        }
        lines
    }
}

impl Row {
    fn draw(&self, names: usize, width: usize, now: Instant, color: Color) -> String {
        let name = cut(&self.stage, width.saturating_sub(5));
        let head = 5 + names.max(name.width());
        let pad = " ".repeat(head - 5 - name.width());
        let mut line = format!("  {}  {}{pad}", color.paint(ACTIVE, "▸"), color.paint(STRONG, &name));
        let (bar, tail) = match &self.progress {
            _ if self.waiting => (
                None,
                fit(vec![Part { rank: 0, text: "waiting for another process".into() }], width.saturating_sub(head + 2)),
            ),
            None => (None, fit(vec![Part { rank: 0, text: clock(now - self.start) }], width.saturating_sub(head + 2))),
            Some((progress, pace)) => {
                let cells = if width < head + 60 { NARROW_BAR } else { BAR };
                let used = if progress.total > 0 { cells + 2 } else { 0 };
                let tail = fit(parts(progress, pace.left(now)), width.saturating_sub(head + 2 + used));
                (bar(progress, cells, color), tail)
            }
        };
        for text in bar.into_iter().chain(tail) {
            line.push_str("  ");
            line.push_str(&text);
        }
        line
    }
}

/// Whole seconds: moving tenths would distract.
fn clock(since: Duration) -> String {
    format::duration(since.as_secs() as f64).replace("0ms", "0s").replace(".0s", "s")
}

fn bar(progress: &Progress, cells: usize, color: Color) -> Option<String> {
    if progress.total == 0 {
        return None;
    }
    let full = (progress.done.min(progress.total) as u128 * cells as u128 / u128::from(progress.total)) as usize;
    Some(format!("{}{}", color.paint(ACTIVE, &"━".repeat(full)), color.paint(FAINT, &"╌".repeat(cells - full))))
}

/// The parts that fit into `width`; the least important are left out first.
fn fit(mut parts: Vec<Part>, width: usize) -> Vec<String> {
    let wide = |parts: &[Part]| parts.iter().map(|p| p.text.width() + 2).sum::<usize>().saturating_sub(2);
    while wide(&parts) > width {
        let Some(worst) = (0..parts.len()).max_by_key(|&i| parts[i].rank) else { break };
        parts.remove(worst);
    }
    parts.into_iter().map(|p| p.text).collect()
}

/// The longest beginning of `text` that fits into `width` columns.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_string();
    }
    let mut left = width.saturating_sub(1);
    let kept: String = text
        .chars()
        .take_while(|c| left.checked_sub(c.width().unwrap_or(0)).map(|rest| left = rest).is_some())
        .collect();
    if width == 0 { kept } else { kept + "…" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_engine::contract::event::StageInfo;
    use pipe_engine::contract::run_id::RunId;

    fn training(done: u64) -> Event {
        let progress = Progress {
            done,
            total: 1500,
            unit: "step".into(),
            epoch: Some((2, 3)),
            loss: Some(0.4123),
            learning_rate: Some(3e-4),
            rate: Some(412.0),
            padding: Some(0.08),
        };
        Event::Progress { stage: "teacher".into(), progress }
    }

    fn board(start: Instant) -> Board {
        let mut board = Board::default();
        let stages =
            ["corpus", "teacher", "adapted", "scores"].map(|n| StageInfo { name: n.into(), ..StageInfo::default() });
        let (id, pipeline, stages) = (RunId::now(), "p".into(), stages.to_vec());
        board.event(&Event::RunStarted { id, pipeline, profile: None, jobs: 2, stages }, start);
        board.event(&Event::StageHit { stage: "corpus".into(), fingerprint: "f".into(), seconds: 1.0 }, start);
        for stage in ["teacher", "adapted"] {
            board.event(&Event::StageStarted { stage: stage.into(), fingerprint: "f".into(), why: vec![] }, start);
        }
        board.event(&training(0), start);
        board.event(&training(500), start + Duration::from_secs(35));
        board
    }

    fn draw(width: usize) -> String {
        let start = Instant::now();
        board(start).draw(7, width, start + Duration::from_secs(35), Color::Never).join("\n")
    }

    #[test]
    fn a_row_for_each_running_stage_and_one_for_the_run() {
        assert_eq!(
            format!("\n{}", draw(140)),
            "
  ▸  teacher  ━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌  step   500/1,500  epoch 2/3  loss 0.4123  lr 3e-4  412/s  padding 8%  1m 10s left
  ▸  adapted  35s
     1 of 4 done  35s"
        );
    }

    #[test]
    fn narrow_terminals_lose_the_least_important_first() {
        assert_eq!(
            draw(90).lines().next(),
            Some("  ▸  teacher  ━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌  step   500/1,500  epoch 2/3  loss 0.4123  1m 10s left")
        );
        assert_eq!(draw(60).lines().next(), Some("  ▸  teacher  ━━╌╌╌╌╌╌  step   500/1,500  1m 10s left"));
        for width in 0..140 {
            for line in draw(width).lines().filter(|_| width > 24) {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn settled_stages_leave() {
        let start = Instant::now();
        let mut board = board(start);
        for stage in ["teacher", "adapted"] {
            board.event(
                &Event::StageDone {
                    stage: stage.into(),
                    fingerprint: "f".into(),
                    seconds: 1.0,
                    unchanged: false,
                    facts: Default::default(),
                },
                start,
            );
        }
        assert_eq!(board.draw(7, 80, start, Color::Never), Vec::<String>::new());
        board.event(&Event::StageWaiting { stage: "scores".into(), fingerprint: "f".into() }, start);
        assert_eq!(
            board.draw(7, 80, start, Color::Never),
            ["  ▸  scores   waiting for another process", "     3 of 4 done  0s"]
        );
    }

    #[test]
    fn trials_count_beside_the_stages_of_the_file() {
        let start = Instant::now();
        let mut board = board(start);
        let stages = vec![StageInfo { name: "teacher[trial=0]".into(), kind: "x".into(), ..StageInfo::default() }];
        board.event(&Event::TrialsStarted { parent: "search".into(), stages }, start);
        assert_eq!(board.draw(0, 80, start, Color::Never).pop().as_deref(), Some("     1 of 5 done  0s"));
    }

    #[test]
    fn a_frame_writes_over_the_last_one() {
        let mut block = Block::default();
        let rows = |texts: &[&str]| texts.iter().map(|t| t.to_string()).collect::<Vec<_>>();
        assert_eq!(block.frame("run p", rows(&[])), "run p\u{1b}[K\n");
        assert_eq!(block.frame("", rows(&["a 1", "b 1"])), "a 1\u{1b}[K\nb 1\u{1b}[K\n");
        assert_eq!(block.frame("", rows(&["a 1", "b 1"])), "");
        assert_eq!(block.frame("done a", rows(&["b 2"])), "\u{1b}[2A\rdone a\u{1b}[K\nb 2\u{1b}[K\n\u{1b}[J");
        assert_eq!(block.frame("", rows(&[])), "\u{1b}[1A\r\u{1b}[J");
    }

    #[test]
    fn names_are_cut_to_the_terminal() {
        assert_eq!(cut("scores[語彙]", 9), "scores[…");
        assert_eq!(cut("scores", 6), "scores");
        assert_eq!(cut("scores", 0), "");
    }
}
