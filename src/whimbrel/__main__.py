from whimbrel.cli.main import main

main()
