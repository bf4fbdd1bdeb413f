//! The section `ingress.guard`: what is asked of requests.

neverstale_settings::section! {
    /// What the door asks before a request reaches the application.
    pub struct GuardSettings = "ingress.guard";
    /// Chooses what becomes of a request that is not allowed: refused, or let through and written to the log. Off, nothing is asked.
    mode: String = "enforce", one_of ["enforce", "observe", "off"], when "an operator first wants to see whom it would hit";
    /// Names a file of rules to take in the place of those that come with the flavour: a file as in `flavours/routes/`.
    routes_file: Option<PathBuf> = None, unit "path", when "the application is a release or a fork whose routes differ";
    /// Lets routes through that the rules do not know, below paths where they know others; otherwise these are for admins alone.
    unknown_routes_allowed: bool = false, when "a newer release of the application has routes that users need";
    /// Answers autocompletion as the application does when it is off.
    autocompletion_off: bool = true, when "autocompletion is wanted in spite of its cost";
    /// Names the model that makes titles, for callers who may use it; the others get none. Empty: titles are the application's business.
    title_model: String = "gemini-2.5-flash-lite", when "another model should make titles";
}
