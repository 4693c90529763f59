//! Which images there are, and what is in them. An image holds what its row says, the user
//! that it runs as, and the list of its crates.

/// An image.
#[derive(Debug)]
pub(crate) struct Image {
    /// The last part of its name, and the name of its files.
    pub(crate) name: &'static str,
    /// What people read in a registry.
    pub(crate) title: &'static str,
    /// What is in `/usr/bin`; the first is what a container runs.
    pub(crate) programs: &'static [Program],
}

/// A program of the workspace.
#[derive(Debug)]
pub(crate) struct Program {
    /// The file's name, among the binaries and in `/usr/bin`.
    pub(crate) name: &'static str,
    /// The crate that makes it.
    pub(crate) package: &'static str,
}

/// All images.
pub(crate) const IMAGES: &[Image] = &[Image {
    name: "defs",
    title: "DeFS storage node, operator, and the commands of owners and administrators",
    programs: &[
        Program { name: "defs-node", package: "defs-node" },
        Program { name: "defs", package: "defs-cli" },
        Program { name: "defs-operator", package: "defs-operator" },
        Program { name: "kubectl-defs", package: "defs-kubectl" },
    ],
}];

/// Where the sources are.
pub(crate) const SOURCE: &str = "https://github.com/bpfs/defs";

/// The licence of what we wrote; crates have theirs, as the list of crates says.
pub(crate) const LICENSE: &str = env!("CARGO_PKG_LICENSE");

/// Whom a container runs as: `nonroot` of [`FILES`].
pub(crate) const USER: &str = "65532:65532";

/// The only folder with programs.
pub(crate) const PATH: &str = "/usr/bin";

/// Files of every image. Programs ask them for the name of the user that runs them.
pub(crate) const FILES: &[(&str, &str)] = &[
    ("etc/group", include_str!("../rootfs/etc/group")),
    ("etc/passwd", include_str!("../rootfs/etc/passwd")),
];

impl Image {
    /// What a container runs.
    pub(crate) fn entrypoint(&self) -> Option<String> {
        self.programs.first().map(|program| format!("{PATH}/{}", program.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_containerfile_says_the_same_as_the_list() {
        let file = include_str!("../Containerfile");
        let [image] = IMAGES else { panic!("each image needs a Containerfile") };
        let copied = image.programs.iter().map(|program| {
            let name = program.name;
            format!("COPY ${{BINARIES}}/{name} {PATH}/{name}")
        });
        let entrypoint = image.entrypoint().unwrap();
        let expected: Vec<_> = ["FROM scratch".to_owned()]
            .into_iter()
            .chain(["ARG BINARIES=target/x86_64-unknown-linux-gnu/release".to_owned()])
            .chain(["COPY images/rootfs/ /".to_owned()])
            .chain(copied)
            .chain([format!("ENV PATH={PATH}"), format!("USER {USER}")])
            .chain([format!("ENTRYPOINT [\"{entrypoint}\"]")])
            .collect();
        let said: Vec<_> = file.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn the_user_of_a_container_has_a_name_and_a_group() {
        let (user, group) = USER.split_once(':').unwrap();
        for (path, text) in FILES {
            let of = if path.ends_with("group") {
                format!(":x:{group}:")
            } else {
                format!(":x:{user}:{group}:")
            };
            assert!(text.contains(&format!("nonroot{of}")), "{path}: {text}");
        }
    }
}
