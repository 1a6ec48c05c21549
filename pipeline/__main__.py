if __name__ == "__main__":
    from .cli.start import main

    main()
