//! A throw-away nginx as a reverse proxy in front of a loopback port: what others are measured beside.

use std::{ffi::OsStr, fs, time::Duration};

use anyhow::{Context, Result};
use rustix::process::Pid;

use crate::{
    free_port,
    provision::nginx,
    scratch::Scratch,
    supervisor::{Recipe, Supervised},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running nginx: one process, that keeps its connections to the upstream. It ends when dropped.
#[derive(Debug)]
pub struct Nginx {
    port: u16,
    process: Supervised,
    _home: Scratch,
}

impl Nginx {
    /// Starts one in front of a loopback port.
    pub async fn start(upstream_port: u16) -> Result<Self> {
        let program = nginx()?.path;
        let (home, port) = (Scratch::new()?, free_port()?);
        let directory = home.path().display();
        let file = home.path().join("nginx.conf");
        // In one process, so that what is measured is what was started.
        let text = format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid {directory}/nginx.pid;\nerror_log stderr;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n  access_log off;\n  client_body_temp_path {directory}/body;\n  proxy_temp_path {directory}/proxy;\n  \
             fastcgi_temp_path {directory}/fastcgi;\n  uwsgi_temp_path {directory}/uwsgi;\n  scgi_temp_path {directory}/scgi;\n  \
             keepalive_requests 1000000000;\n  \
             upstream application {{ server 127.0.0.1:{upstream_port}; keepalive 128; keepalive_requests 1000000000; }}\n  \
             server {{\n    listen 127.0.0.1:{port};\n    location / {{\n      proxy_pass http://application;\n      \
             proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      proxy_set_header Host $http_host;\n      \
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n      \
             proxy_set_header X-Forwarded-Proto $scheme;\n      proxy_set_header X-Request-Id $request_id;\n      \
             proxy_buffering off;\n      proxy_request_buffering off;\n    }}\n  }}\n}}\n"
        );
        fs::write(&file, text).context("write nginx' file")?;
        let command: [&OsStr; 5] = [
            program.as_os_str(),
            OsStr::new("-e"),
            OsStr::new("stderr"),
            OsStr::new("-c"),
            file.as_os_str(),
        ];
        let process = Supervised::start(&Recipe::new(&command, home.path(), "nginx.log"))?;
        process.listens(port, PATIENCE).await.context("start nginx")?;
        Ok(Self {
            port,
            process,
            _home: home,
        })
    }

    /// The loopback port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }
}
