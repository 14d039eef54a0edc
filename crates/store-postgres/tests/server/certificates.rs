//! Certificates of a test's own, made by `openssl`.

use std::process::{Command, Stdio};

use tempfile::TempDir;

/// `root.pem` has signed `server.pem` (for `localhost`) and `client.pem` (for the user `highwater`), whose keys are in
/// `server.key` and `client.key`; `other-root.pem` has signed nothing.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    /// `None` where there is no `openssl`.
    pub(crate) fn make() -> Option<Self> {
        Command::new("openssl").arg("version").stdout(Stdio::null()).status().ok()?;
        let made = Self(tempfile::tempdir().unwrap());
        for root in ["root", "other-root"] {
            made.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={root} \
                 -keyout {root}.key -out {root}.pem -addext basicConstraints=critical,CA:TRUE"
            ));
        }
        std::fs::write(made.path("server.ext"), "subjectAltName=DNS:localhost\n").unwrap();
        std::fs::write(made.path("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
        for (who, subject) in [("server", "localhost"), ("client", "highwater")] {
            made.openssl(&format!(
                "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={subject} \
                 -keyout {who}.key -out {who}.csr"
            ));
            made.openssl(&format!(
                "x509 -req -in {who}.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 \
                 -extfile {who}.ext -out {who}.pem"
            ));
        }
        Some(made)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn openssl(&self, arguments: &str) {
        let done = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
    }
}
