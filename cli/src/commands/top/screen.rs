//! What is on the screen, and what keys do to it.

use std::collections::BTreeSet;

use orchestra_contracts::{Job, JobId, JobStatus};
use ratatui::{
    Frame, Terminal,
    backend::TestBackend,
    crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState},
};

use super::picture::Picture;
use crate::{
    commands::{ls::why, workers},
    output::{escape, when},
};

/// So many lines of a log are looked at.
pub(super) const LOG_LINES: u32 = 200;
/// Workers beyond these are counted, not shown.
const WORKERS: usize = 6;
const LONGEST: usize = 120;
const HELP: &str = "up/down select  enter log  c cancel  r retry  q quit";

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Look,
    Cancel(JobId),
    Retry(JobId),
    Leave,
}

#[derive(Debug)]
pub(super) struct Screen {
    url: String,
    picture: Picture,
    /// The row that is selected, and the job that stood there: it is followed when rows move.
    selected: TableState,
    chosen: Option<JobId>,
    /// The log of the chosen job, where it is open.
    log: Option<String>,
    /// What the master said last, until the next key.
    said: Option<String>,
}

impl Screen {
    pub(super) fn new(url: &str, picture: Picture) -> Self {
        let mut screen = Self {
            url: url.to_owned(),
            picture,
            selected: TableState::default(),
            chosen: None,
            log: None,
            said: None,
        };
        screen.select(0);
        screen
    }

    pub(super) fn show(&mut self, picture: Picture) {
        self.picture = picture;
        let jobs = &self.picture.jobs;
        let place = jobs.iter().position(|job| Some(job.id) == self.chosen);
        match place {
            Some(place) => self.selected.select(Some(place)),
            None => self.select(self.selected.selected().unwrap_or_default()),
        }
    }

    pub(super) fn show_log(&mut self, text: String) {
        self.log = Some(text);
    }

    pub(super) fn say(&mut self, text: String) {
        self.said = Some(text);
    }

    /// Whose log is open.
    pub(super) fn reads(&self) -> Option<JobId> {
        self.log.as_ref().and(self.chosen)
    }

    fn select(&mut self, row: usize) {
        let row = row.min(self.picture.jobs.len().saturating_sub(1));
        self.chosen = self.picture.jobs.get(row).map(|job| job.id);
        self.selected.select(self.chosen.map(|_| row));
    }

    pub(super) fn obey(&mut self, event: &Event) -> Option<Order> {
        let Event::Key(key) = event else { return None };
        if key.kind != KeyEventKind::Press {
            return None;
        }
        self.said = None;
        let row = self.selected.selected().unwrap_or_default();
        match key.code {
            KeyCode::Char('q') => Some(Order::Leave),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                Some(Order::Leave)
            }
            KeyCode::Esc if self.log.is_none() => Some(Order::Leave),
            KeyCode::Esc => {
                self.log = None;
                None
            }
            KeyCode::Up | KeyCode::Char('k') => self.move_to(row.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.move_to(row + 1),
            KeyCode::Home => self.move_to(0),
            KeyCode::End => self.move_to(usize::MAX),
            KeyCode::Enter if self.log.is_some() => {
                self.log = None;
                None
            }
            KeyCode::Enter => self.chosen.map(|_| {
                self.log = Some(String::new());
                Order::Look
            }),
            KeyCode::Char('c') => self.chosen.map(Order::Cancel),
            KeyCode::Char('r') => self.chosen.map(Order::Retry),
            _ => None,
        }
    }

    /// Another job's log has to be fetched.
    fn move_to(&mut self, row: usize) -> Option<Order> {
        self.select(row);
        self.log.as_mut().map(|log| {
            log.clear();
            Order::Look
        })
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let workers = self.picture.workers.len().clamp(1, WORKERS) as u16 + 1;
        let log =
            if self.log.is_some() { Constraint::Percentage(50) } else { Constraint::Length(0) };
        let [head, of_workers, jobs, of_log, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(workers + 1),
            Constraint::Min(3),
            log,
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Line::styled(self.head(), Modifier::BOLD), head);
        frame.render_widget(self.workers(), of_workers);
        self.draw_jobs(frame, jobs);
        self.draw_log(frame, of_log);
        let foot_text = self.said.as_deref().map_or_else(|| HELP.to_owned(), escape::line);
        let style =
            if self.said.is_some() { Style::new().fg(Color::Yellow) } else { Style::new().dim() };
        frame.render_widget(Line::styled(foot_text, style), foot);
    }

    /// As it would be on a screen of this size, without colours.
    pub(super) fn text(mut self, (width, height): (u16, u16)) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("it never fails");
        terminal.draw(|frame| self.draw(frame)).expect("it never fails");
        let cells = &terminal.backend().buffer().content;
        let rows = cells.chunks(width.into());
        let rows =
            rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
        let text: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
        // The keys are of no use there.
        let text = text[..text.len() - 1].join("\n");
        format!("{}\n", text.trim_end())
    }

    fn head(&self) -> String {
        let Picture { workers, queues, at, .. } = &self.picture;
        let sum =
            |count: fn(&orchestra_contracts::Queue) -> u64| queues.iter().map(count).sum::<u64>();
        let online: Vec<_> = workers.iter().filter(|worker| worker.online).collect();
        let slots: u32 = online.iter().map(|worker| worker.registration.slots).sum();
        let paused = queues.iter().filter(|queue| queue.paused).count();
        let paused = if paused > 0 { format!(", {paused} queues paused") } else { String::new() };
        format!(
            "{}  {}  {} running, {} waiting{paused}; {} of {} workers online with {slots} slots",
            at.strftime("%H:%M:%S"),
            self.url,
            sum(|queue| queue.running),
            sum(|queue| queue.pending),
            online.len(),
            workers.len(),
        )
    }

    fn workers(&self) -> Table<'static> {
        let row = |worker: &orchestra_contracts::worker::Worker| {
            let state = match (workers::state(worker), &worker.unwell) {
                (state @ "unwell", Some(reason)) => {
                    format!("{state}: {}", escape::short(reason, LONGEST))
                }
                (state, _) => state.to_owned(),
            };
            let jobs: BTreeSet<String> = worker.running.iter().map(ToString::to_string).collect();
            Row::new([
                worker.name.to_string(),
                format!("{}/{}", worker.running.len(), worker.registration.slots),
                escape::short(&worker.registration.queues.join(","), LONGEST),
                state,
                jobs.into_iter().collect::<Vec<_>>().join(" "),
            ])
        };
        let all = &self.picture.workers;
        let mut shown: Vec<_> = all.iter().collect();
        shown.sort_by_key(|worker| !worker.online);
        let widths = [
            Constraint::Length(24),
            Constraint::Length(7),
            Constraint::Length(20),
            Constraint::Min(10),
            Constraint::Min(10),
        ];
        let title = match all.len().saturating_sub(WORKERS) {
            0 => String::new(),
            more => format!(" and {more} more "),
        };
        Table::new(shown.into_iter().take(WORKERS).map(row), widths)
            .header(header(["WORKER", "SLOTS", "QUEUES", "STATE", "JOBS"]))
            .block(Block::new().borders(Borders::BOTTOM).title_bottom(title))
    }

    fn draw_jobs(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.picture.jobs.iter().map(|job| row_of(job, self.picture.at));
        let widths = [
            Constraint::Length(8),
            Constraint::Length(10),
            Constraint::Length(12),
            Constraint::Length(8),
            Constraint::Length(9),
            Constraint::Length(16),
            Constraint::Fill(2),
            Constraint::Fill(1),
        ];
        let names = ["JOB", "STATUS", "QUEUE", "AGE", "TOOK", "WORKER", "COMMAND", "WHY"];
        let table = Table::new(rows, widths)
            .header(header(names))
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        frame.render_stateful_widget(table, area, &mut self.selected);
    }

    /// Its last lines, as many as there is room for.
    fn draw_log(&self, frame: &mut Frame<'_>, area: Rect) {
        let (Some(log), Some(id)) = (&self.log, self.chosen) else { return };
        let lines: Vec<&str> = log.lines().collect();
        let room = usize::from(area.height.saturating_sub(1));
        let last = &lines[lines.len().saturating_sub(room)..];
        let text: Vec<Line<'_>> = last
            .iter()
            .map(|line| Line::raw(escape::short(line, usize::from(area.width).max(1))))
            .collect();
        let block = Block::new().borders(Borders::TOP).title(format!(" log of job {id} "));
        frame.render_widget(Paragraph::new(text).block(block), area);
    }
}

fn header<const N: usize>(names: [&'static str; N]) -> Row<'static> {
    Row::new(names.map(Cell::from)).style(Style::new().dim())
}

fn row_of(job: &Job, now: jiff::Timestamp) -> Row<'static> {
    let what = job.spec.name.as_deref().unwrap_or(&job.spec.command);
    let worker = job.assigned_worker.as_ref().map(ToString::to_string).unwrap_or_default();
    let status = Cell::from(job.status.to_string()).style(color(job.status));
    Row::new([
        Cell::from(job.id.to_string()),
        status,
        Cell::from(escape::short(&job.spec.queue, LONGEST)),
        Cell::from(when::age(now, job.created_at)),
        Cell::from(when::took(job, now)),
        Cell::from(worker),
        Cell::from(escape::short(what.trim(), LONGEST)),
        Cell::from(escape::short(&why(job), LONGEST)),
    ])
}

fn color(status: JobStatus) -> Style {
    match status {
        JobStatus::Pending => Style::new(),
        JobStatus::Assigned | JobStatus::Running => Style::new().fg(Color::Cyan),
        JobStatus::Completed => Style::new().fg(Color::Green),
        JobStatus::Failed => Style::new().fg(Color::Red),
        JobStatus::Cancelled => Style::new().fg(Color::DarkGray),
    }
}
