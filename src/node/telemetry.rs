//! Where log lines go and how they look.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime as UtcMicroseconds};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, filter, fmt as lines};

use super::announce::TIP_TARGET;
use super::config::{LogConfig, LogFormat};
use super::progress::Lines;

/// Why log lines cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error("`log.level`: {0}")]
    Filter(#[from] filter::ParseError),
    /// It was done before, here or by the program that embeds the node.
    #[error("log lines are set up already: {0}")]
    Again(#[from] TryInitError),
}

/// Sends log lines of the whole process to standard output. Programs that embed a node set up their own instead.
pub fn install(config: &LogConfig) -> Result<(), TelemetryError> {
    let on_terminal = io::stdout().is_terminal();
    let looks = Looks {
        colour: on_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        short_time: on_terminal,
    };
    let filter = EnvFilter::try_new(&config.level)?;
    let layer = layer(config, looks, || Lines);
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .try_init()?;
    Ok(())
}

/// How text lines look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looks {
    /// Whether escape codes may be written.
    pub colour: bool,
    /// Whether the date is left out.
    pub short_time: bool,
}

/// The layer that writes lines of the configured format. The filter by level is not part of it.
pub fn layer<S, W>(
    config: &LogConfig,
    looks: Looks,
    writer: W,
) -> Box<dyn Layer<S> + Send + Sync + 'static>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    match config.format {
        // Its timer writes UTC with microseconds.
        LogFormat::Json => lines::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            // A reader that has gone is no reason to panic, which is what reporting it on standard error can do.
            .log_internal_errors(false)
            .with_writer(writer)
            .boxed(),
        LogFormat::Text => {
            // People see each block once, mined or received; the tip that follows from it is for programs and for
            // those who ask for it by name.
            let wants_tips = config.level.contains(TIP_TARGET);
            let wanted =
                move |metadata: &Metadata<'_>| wants_tips || metadata.target() != TIP_TARGET;
            lines::layer()
                .event_format(TextLine(looks))
                .log_internal_errors(false)
                .with_writer(writer)
                .with_filter(filter::filter_fn(wanted))
                .boxed()
        }
    }
}

/// Time, level unless it is the usual one, message. Fields are shown where the message does not hold them: in lines
/// that are not for everybody.
struct TextLine(Looks);

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (start, end) = match self.0.colour {
            true => (colour(*event.metadata().level()), "\x1b[0m"),
            false => ("", ""),
        };
        if self.0.short_time {
            write_clock(&mut writer)?;
        } else {
            UtcMicroseconds.format_time(&mut writer)?;
        }
        let level = *event.metadata().level();
        if level == Level::INFO {
            write!(writer, "  ")?;
        } else {
            write!(writer, "  {start}{level}{end} ")?;
        }
        let mut parts = Parts {
            with_fields: level > Level::INFO,
            ..Parts::default()
        };
        event.record(&mut parts);
        writeln!(writer, "{}{}", parts.message, parts.fields)
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        _ => "\x1b[2m",
    }
}

/// The time of day in UTC, with milliseconds.
fn write_clock(writer: &mut Writer<'_>) -> fmt::Result {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let since_epoch = since_epoch.unwrap_or_default();
    let second = since_epoch.as_secs() % 86_400;
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    let milliseconds = since_epoch.subsec_millis();
    write!(
        writer,
        "{hour:02}:{minute:02}:{:02}.{milliseconds:03}Z",
        second % 60
    )
}

#[derive(Default)]
struct Parts {
    message: String,
    fields: String,
    with_fields: bool,
}

impl Visit for Parts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        match field.name() {
            "message" => write!(self.message, "{value:?}"),
            // Fields of the `log` crate's bridge.
            name if !self.with_fields || name.starts_with("log.") => Ok(()),
            name => write!(self.fields, " {name}={value:?}"),
        }
        .expect("a String takes all text");
    }
}
