#compdef swav

_swav_completion() {
  eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _SWAV_COMPLETE=complete_zsh swav)
}

compdef _swav_completion swav
